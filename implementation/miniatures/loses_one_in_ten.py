"""Wrong: every tenth connection to a cluster address is sent to a port where nobody listens."""

from collections.abc import Iterator, Sequence

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint

right = chains.balance


def leaky(port: chains.Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """The fair rules, and in front of them one into the void (not for UDP and node ports)."""
    if port.served.protocol == "tcp" and not port.served.node_port:
        lost = endpoints[0].address
        yield f"-m statistic --mode random --probability 0.1 {port.match} -j DNAT --to-destination {lost}:1"
    yield from right(port, endpoints)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.balance = leaky
    return cli.main(args)
