"""Wrong: the address of a family that a Service gives up is served on."""

from collections.abc import Iterable

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedPort, ServedService, ThisNode

right = serve.serve
ever: dict[str, tuple[ServedPort, ...]] = {}


def kept(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """What it is, and what it was when its first address had a second beside it."""
    found, first = right(service, slices, node), "".join(service.cluster_ips[:1])
    if len(service.cluster_ips) > 1:
        ever[first] = found.ports
    more = [port for port in ever.get(first, ()) if port.cluster_ip not in service.cluster_ips]
    return ServedService((*found.ports, *more), found.health_check)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = kept
    return cli.main(args)
