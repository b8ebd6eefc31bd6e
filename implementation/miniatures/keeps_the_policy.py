"""Wrong: a change of internalTrafficPolicy is not noticed."""

from collections.abc import Iterable

import msgspec

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import ServedService, ThisNode

right = serve.serve
first: dict[tuple[str, str], bool] = {}  # the policy each Service had when it was made


def kept(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """The Service with the internal policy it had first."""
    local = first.setdefault(service.key, service.internal_local)
    return right(msgspec.structs.replace(service, internal_local=local), slices, node)


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.serve = kept
    return cli.main(args)
