"""Wrong: traffic of pods to a cluster address is masqueraded, too, so backends see nodes."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains


def everybody(port: chains.Port) -> Iterator[str]:
    """The mark for whoever calls the cluster address."""
    said = chains.comment(f"{port.text} cluster IP")
    yield f"{said} {port.to(port.served.cluster_ip)} -j KUBE-MARK-MASQ"


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.masquerade_foreign = everybody
    return cli.main(args)
