"""Wrong: a Service without endpoints is not refused, its address leads nowhere."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains


def nothing(port: chains.Port) -> Iterator[str]:
    """No rule at all."""
    del port
    return iter(())


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.refusals_inside = nothing
    return cli.main(args)
