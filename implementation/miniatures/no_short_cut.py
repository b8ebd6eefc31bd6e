"""Wrong: pods are no clients of the cluster at external addresses: policy Local holds for them."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.external_rules


def for_nodes_only(port: chains.Port) -> Iterator[str]:
    """The rules of outside addresses without the way round for pods."""
    return (rule for rule in right(port) if "pod traffic for" not in rule)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.external_rules = for_nodes_only
    return cli.main(args)
