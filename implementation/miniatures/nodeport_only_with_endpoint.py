"""Wrong: a node without an endpoint does not serve the node port."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.node_port_rules


def with_endpoint(port: chains.Port) -> Iterator[str]:
    """The rules of the node port, where an endpoint is on this node."""
    if any(endpoint.local for endpoint in port.served.reachable):
        yield from right(port)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.node_port_rules = with_endpoint
    return cli.main(args)
