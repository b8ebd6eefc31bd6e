"""Wrong: connections arrive at the Service's port of the pod, not at its targetPort."""

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint


def service_port(port: chains.Port, endpoint: Endpoint) -> str:
    """The endpoint's address with the Service's own port."""
    return f"{endpoint.address}:{port.served.port}"


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.destination = service_port
    return cli.main(args)
