"""Wrong: every node sends what comes to its node ports to the node ports of one and the same node."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

ONE, ADDRESS = "k3s-worker-rpi003", "192.168.2.116"  # the last node of the embedded cluster
right = chains.node_port_rules


def by_the_one(port: chains.Port) -> Iterator[str]:
    """The rules of the node port: on to the one node, except under policy Local."""
    served = port.served
    if served.external_local or not served.node_port or not served.has_endpoints:
        yield from right(port)
        return
    start = f"{port.match} --dport {served.node_port}"
    yield f"{start} -j KUBE-MARK-MASQ"
    yield f"{start} -j DNAT --to-destination {ADDRESS}:{served.node_port}"


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong; the one node itself is right."""
    if f"--hostname-override={ONE}" not in (args or []):
        chains.node_port_rules = by_the_one
    return cli.main(args)
