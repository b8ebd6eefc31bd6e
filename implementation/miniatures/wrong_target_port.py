"""Wrong: a node without an endpoint sends to the Service's port of the pod, not to its targetPort."""

from implementation import cli
from implementation.dataplane.iptables import chains
from implementation.state.desired import Endpoint

right = chains.destination


def service_port(port: chains.Port, endpoint: Endpoint) -> str:
    """The endpoint, with the Service's own port where this node has no endpoint (not for node ports)."""
    if port.served.node_port or any(known.local for known in port.served.reachable):
        return right(port, endpoint)
    return f"{endpoint.address}:{port.served.port}"


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    chains.destination = service_port
    return cli.main(args)
