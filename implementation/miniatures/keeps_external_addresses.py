"""Wrong: an external address that is removed is served on."""

from collections.abc import Iterable

import msgspec

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedService, ThisNode

right = serve.serve
ever: dict[tuple[str, str], tuple[str, ...]] = {}  # the external addresses each Service had


def kept(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """The Service with every external address it ever had."""
    addresses = tuple(dict.fromkeys((*ever.get(service.key, ()), *service.external_ips)))
    ever[service.key] = addresses
    return right(msgspec.structs.replace(service, external_ips=addresses), slices, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = kept
    return cli.main(args)
