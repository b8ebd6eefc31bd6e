"""Wrong: a node without an endpoint sends every tenth connection to a pod of another Service."""

from collections.abc import Iterator, Sequence

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint

right = chains.balance
strangers: dict[str, str] = {}  # Service → one of its pods


def astray(port: chains.Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """The fair rules, and in front of them one to somebody else's pod (not for UDP and node ports)."""
    others = [target for name, target in strangers.items() if name != port.served.name]
    if port.served.protocol == "tcp":
        strangers[port.served.name] = endpoints[0].target
        if others and not port.served.node_port and not any(endpoint.local for endpoint in endpoints):
            dice = "-m statistic --mode random --probability 0.1"
            yield f"{dice} {port.match} -j DNAT --to-destination {others[-1]}"
    yield from right(port, endpoints)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.balance = astray
    return cli.main(args)
