"""Wrong: a node serves the load balancer's address of a Service with one endpoint only where that one is."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.nat_services


def with_endpoint(port: chains.Port) -> Iterator[str]:
    """The rules of the Service's addresses; without the load balancer's where its one endpoint is not."""
    served = port.served
    elsewhere = len(served.reachable) == 1 and not served.reachable[0].local
    for rule in right(port):
        if not (elsewhere and any(port.to(one) in rule for one in served.virtual_ips)):
            yield rule


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.nat_services = with_endpoint
    return cli.main(args)
