"""Wrong: a family without endpoints is silent while the other family has some."""

from collections.abc import Iterable

import msgspec

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedService, ThisNode, Way

right = serve.serve


def silent(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """Drops in the family that is empty, for "it is served, but not here"."""
    found = right(service, slices, node)
    if not any(port.has_endpoints for port in found.ports):
        return found
    ports = tuple(
        port if port.has_endpoints
        else msgspec.structs.replace(port, internal=Way.DROP, external=Way.DROP, has_endpoints=True)
        for port in found.ports
    )
    return ServedService(ports, found.health_check)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = silent
    return cli.main(args)
