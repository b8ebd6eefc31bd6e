"""Wrong: connections are sent to the Service's own port number of the pod, not to its targetPort."""

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint


def same_number(port: chains.Port, endpoint: Endpoint) -> str:
    """The endpoint's address with the Service's port."""
    return Endpoint(endpoint.address, port.served.port).target


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.destination = same_number
    return cli.main(args)
