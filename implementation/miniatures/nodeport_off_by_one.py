"""Wrong: the node port over UDP is served one number too high."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.node_port_rules


def next_port(port: chains.Port) -> Iterator[str]:
    """The rules of the node port, for the port above it where it is UDP."""
    number = port.served.node_port
    if port.served.protocol != "udp":
        return right(port)
    return (rule.replace(f"--dport {number} ", f"--dport {number + 1} ") for rule in right(port))


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.node_port_rules = next_port
    return cli.main(args)
