"""Wrong: the port of an endpoint is the one it had when it was first seen."""

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint

right = chains.destination
first: dict[tuple[str, str], str] = {}


def as_at_first(port: chains.Port, endpoint: Endpoint) -> str:
    """The address, with the port of the first time."""
    return first.setdefault((port.text, endpoint.address), right(port, endpoint))


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.destination = as_at_first
    return cli.main(args)
