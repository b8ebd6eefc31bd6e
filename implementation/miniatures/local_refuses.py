"""Wrong: with externalTrafficPolicy Local a node without an endpoint refuses instead of dropping."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import policy
from implementation.state.desired import Endpoint, Way

right = policy.external_way


def refusing(external_local: bool, has_endpoints: bool, local: Sequence[Endpoint]) -> Way:
    """The right way, but a refusal where it is to drop."""
    way = right(external_local, has_endpoints, local)
    return Way.REJECT if way is Way.DROP else way


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    policy.external_way = refusing
    return cli.main(args)
