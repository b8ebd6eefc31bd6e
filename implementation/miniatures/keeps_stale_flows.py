"""Wrong: uDP flows are never ended."""

from collections.abc import Iterable

from implementation import cli
from implementation.node import conntrack


def none(
    flows: Iterable[conntrack.Flow], allowed: conntrack.Flows, local: frozenset[str]
) -> list[conntrack.Flow]:
    """No flow is stale."""
    del flows, allowed, local
    return []


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    conntrack.stale = none
    return cli.main(args)
