"""Wrong: a Service that was an ExternalName is taken for one for ever."""

from collections.abc import Iterable

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedService, ThisNode

right = serve.serve
names: set[tuple[str, str]] = set()


def unforgiving(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """Nothing for who ever had no address."""
    key = service.namespace, service.name
    if not service.cluster_ips:
        names.add(key)
    return ServedService() if key in names else right(service, slices, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = unforgiving
    return cli.main(args)
