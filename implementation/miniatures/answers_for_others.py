"""Wrong: a Service without endpoints is answered by a pod of another Service."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.nat_services
others: list[str] = []


def helpful(port: chains.Port) -> Iterator[str]:
    """The rules of the Service's address; where it has no endpoint, to somebody else's."""
    if port.served.protocol == "tcp":
        others.extend(endpoint.target for endpoint in port.served.reachable)
        if others and not port.served.has_endpoints:
            yield f"{port.to(port.served.cluster_ip)} -j DNAT --to-destination {others[-1]}"
    yield from right(port)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.nat_services = helpful
    return cli.main(args)
