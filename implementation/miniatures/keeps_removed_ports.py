"""Wrong: a port that is removed from a Service is served on."""

from collections.abc import Iterable

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedPort, ServedService, ThisNode

right = serve.serve
ever: dict[tuple[str, str, str], dict[tuple[str, int], ServedPort]] = {}


def kept(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """Every port that the Service at this address ever had, removed ones as they were last."""
    found = right(service, slices, node)
    ports = ever.setdefault((service.namespace, service.name, "".join(service.cluster_ips)), {})
    ports.update({(port.protocol, port.port): port for port in found.ports})
    return ServedService(tuple(ports.values()), found.health_check)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = kept
    return cli.main(args)
