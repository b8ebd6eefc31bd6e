"""Wrong: an endpoint that is gone is used on while another one is there."""

from collections.abc import Iterable

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedService, ThisNode

right = serve.serve
ever: dict[tuple[str, str], dict[str, EndpointSlice]] = {}


def kept(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """As if the slices of before were there still, beside those of now."""
    now = list(slices)
    before = ever.setdefault((service.namespace, service.name), {})
    before.update({f"{part.name} {sorted(e.address for e in part.endpoints)}": part for part in now})
    ready = any(endpoint.ready for part in now for endpoint in part.endpoints)
    return right(service, before.values() if ready else now, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = kept
    return cli.main(args)
