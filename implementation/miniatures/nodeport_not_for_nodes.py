"""Wrong: processes of a node are not served at that node's own node ports."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.node_port_rules


def not_for_itself(port: chains.Port) -> Iterator[str]:
    """The rules of the node port, only for who is not the node itself."""
    return (rule.replace(" -j ", " -m addrtype ! --src-type LOCAL -j ") for rule in right(port))


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.node_port_rules = not_for_itself
    return cli.main(args)
