"""Wrong: a node that has an endpoint of its own sends everything to it."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import serve
from implementation.state.desired import Endpoint

right = serve.pool


def own(endpoints: Sequence[Endpoint], nearby: tuple[Endpoint, ...] | None) -> tuple[Endpoint, ...]:
    """The endpoints on this node, or all where there is none."""
    usable = right(endpoints, nearby)
    return tuple(e for e in usable if e.local) or usable


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.pool = own
    return cli.main(args)
