"""Wrong: a node without an endpoint does not serve the cluster address over TCP."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.nat_services


def with_endpoint(port: chains.Port) -> Iterator[str]:
    """The rules of the Service's addresses; over TCP only where an endpoint is on this node."""
    if port.served.protocol != "tcp" or any(endpoint.local for endpoint in port.served.reachable):
        yield from right(port)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.nat_services = with_endpoint
    return cli.main(args)
