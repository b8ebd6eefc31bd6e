"""Wrong: a load balancer's address serves clients that loadBalancerSourceRanges leave out."""

from collections.abc import Iterator

from implementation import cli
from implementation.dataplane.iptables import chains, names


def open_to_all(port: chains.Port) -> Iterator[str]:
    """Lets every source on to EXT."""
    yield f"{chains.comment(f'{port.text} loadbalancer IP')} -j {port.chain(names.EXTERNAL)}"


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.firewall_rules = open_to_all
    return cli.main(args)
