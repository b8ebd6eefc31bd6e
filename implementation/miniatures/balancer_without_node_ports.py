"""Wrong: the node ports of Services of type LoadBalancer are not served."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.node_port_rules


def plain_only(port: chains.Port) -> Iterator[str]:
    """The rules of the node port, where the Service has no load balancer."""
    return iter(()) if port.served.virtual_ips else right(port)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.node_port_rules = plain_only
    return cli.main(args)
