"""Wrong: Services over UDP are not served."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.nat_services


def not_udp(port: chains.Port) -> Iterator[str]:
    """The rules of the Service's addresses, unless it is UDP."""
    return iter(()) if port.served.protocol == "udp" else right(port)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.nat_services = not_udp
    return cli.main(args)
