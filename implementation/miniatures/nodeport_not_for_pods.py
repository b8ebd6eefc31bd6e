"""Wrong: pods are not served at node ports."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.node_port_rules


def not_for_pods(port: chains.Port) -> Iterator[str]:
    """The rules of the node port, only for who is no pod."""
    detector = port.options.detector(port.served.family)
    for rule in right(port):
        yield rule.replace(" -j ", f" {detector.foreign} -j ") if detector else rule


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.node_port_rules = not_for_pods
    return cli.main(args)
