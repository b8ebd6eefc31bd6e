"""Wrong: an endpoint that calls its own Service always gets itself."""

from collections.abc import Iterator, Sequence

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint

right = chains.balance


def itself_first(port: chains.Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """The fair rules, and in front of them one for each endpoint's own packets."""
    for endpoint in endpoints:
        yield f"-s {endpoint.address} -j {port.endpoint_chain(endpoint)}"
    yield from right(port, endpoints)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.balance = itself_first
    return cli.main(args)
