"""Wrong: a Service that becomes an ExternalName is served on as it was."""

from collections.abc import Iterable

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedService, ThisNode

right = serve.serve
last: dict[tuple[str, str], ServedService] = {}


def as_it_was(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """What it was while it had an address."""
    key = service.namespace, service.name
    if service.cluster_ips:
        last[key] = right(service, slices, node)
    return last.get(key, ServedService())


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = as_it_was
    return cli.main(args)
