"""Wrong: what comes in by a node port keeps its source under policy Cluster, so answers take another way."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.external_rules


def unmarked(port: chains.Port) -> Iterator[str]:
    """The rules of outside traffic, without the mark of what is to be masqueraded under Cluster."""
    for rule in right(port):
        if port.served.external_local or not rule.endswith("-j KUBE-MARK-MASQ"):
            yield rule


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.external_rules = unmarked
    return cli.main(args)
