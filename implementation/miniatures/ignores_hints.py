"""Wrong: topology hints are not followed."""

from collections.abc import Sequence

from implementation import cli
from implementation.state import topology
from implementation.state.desired import Endpoint, ThisNode


def nowhere(ready: Sequence[Endpoint], node: ThisNode) -> tuple[Endpoint, ...] | None:
    """No endpoint is nearer than another."""
    del ready, node
    return None


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    topology.nearby = nowhere
    return cli.main(args)
