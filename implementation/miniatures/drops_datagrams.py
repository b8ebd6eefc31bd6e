"""Wrong: datagrams to a Service without endpoints are dropped instead of refused."""

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Way

right = chains.refusal


def dropped(port: chains.Port, way: Way) -> tuple[str, str]:
    """The comment as it should be, and the target DROP for datagrams."""
    said, target = right(port, way)
    return said, "-j DROP" if port.served.protocol == "udp" else target


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.refusal = dropped
    return cli.main(args)
