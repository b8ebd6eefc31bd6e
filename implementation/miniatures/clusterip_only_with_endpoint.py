"""Wrong: a node without an endpoint does not serve the cluster address at ports from 1024 up."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.nat_services


def with_endpoint(port: chains.Port) -> Iterator[str]:
    """The rules of the Service's addresses; at high ports only where an endpoint is on this node."""
    if port.served.port < 1024 or any(endpoint.local for endpoint in port.served.reachable):
        yield from right(port)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.nat_services = with_endpoint
    return cli.main(args)
