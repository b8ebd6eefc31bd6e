"""Wrong: health checks count ready endpoints of every node."""

from collections.abc import Sequence

import msgspec

from implementation import cli
from implementation.objects import EndpointSlice, Service
from implementation.state import serve
from implementation.state.desired import HealthCheck, ThisNode

right = serve.health_check


def anywhere(service: Service, slices: Sequence[EndpointSlice], node: ThisNode) -> HealthCheck | None:
    """The check as if every ready endpoint were on this node."""
    found = right(service, slices, node)
    ready = {e.address for part in slices for e in part.endpoints if e.ready}
    return found and msgspec.structs.replace(found, local_endpoints=len(ready))


def main(args: list[str] | None = None) -> int:
    """Run the proxy with this one decision wrong."""
    serve.health_check = anywhere
    return cli.main(args)
