"""Wrong: with each change every UDP flow to a Service is ended."""

from collections.abc import Iterable

from implementation import cli
from implementation.node import conntrack


def all_of_them(
    flows: Iterable[conntrack.Flow], allowed: conntrack.Flows, local: frozenset[str]
) -> list[conntrack.Flow]:
    """Every flow to a place that is known is stale."""
    del local
    return sorted({flow for flow in flows if (flow.destination, flow.port) in allowed})


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    conntrack.stale = all_of_them
    return cli.main(args)
