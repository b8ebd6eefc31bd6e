"""Wrong: an endpoint that joins the only one a Service has is not noticed."""

from collections.abc import Iterable

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedPort, ServedService, ThisNode

right = serve.serve
alone: dict[tuple[str, str], ServedService] = {}  # Services as they were served by their one endpoint


def targets(ports: Iterable[ServedPort]) -> set[str]:
    """The endpoints of all ports."""
    return {endpoint.target for port in ports for endpoint in port.reachable}


def kept(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """What was served by one endpoint stays so while that one is there."""
    found, key = right(service, slices, node), (service.namespace, service.name)
    now, before = targets(found.ports), alone.get(key)
    if before is not None and len(now) > 1 and targets(before.ports) < now:
        return before
    alone.pop(key, None)
    if len(now) == 1:
        alone[key] = found
    return found


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = kept
    return cli.main(args)
