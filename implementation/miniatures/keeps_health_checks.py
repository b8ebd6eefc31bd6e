"""Wrong: a healthCheckNodePort stays open when the Service has none any more."""

from collections.abc import Sequence

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import HealthCheck, ThisNode

right = serve.health_check
opened: dict[tuple[str, str], HealthCheck] = {}


def kept(service: Service, slices: Sequence[EndpointSlice], node: ThisNode) -> HealthCheck | None:
    """The check, or else the one there was."""
    found = right(service, slices, node)
    if found is not None:
        opened[service.key] = found
    return opened.get(service.key)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.health_check = kept
    return cli.main(args)
