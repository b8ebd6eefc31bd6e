"""Wrong: services with ClientIP affinity are balanced as all others."""

from collections.abc import Iterator, Sequence

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint


def nobody_sticks(port: chains.Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """No rules for clients seen before."""
    del port, endpoints
    return iter(())


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.affinity_rules = nobody_sticks
    return cli.main(args)
