"""Wrong: with externalTrafficPolicy Local the client's address is replaced by the node's."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains

right = chains.external_rules


def masquerading(port: chains.Port) -> Iterator[str]:
    """The rules of outside traffic, and in front of them the mark that Cluster has, for Local, too."""
    if port.served.external_local:
        yield "-j KUBE-MARK-MASQ"
    yield from right(port)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.external_rules = masquerading
    return cli.main(args)
