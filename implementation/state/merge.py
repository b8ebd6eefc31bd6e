"""Which endpoints the slices of one Service hold together."""

from __future__ import annotations

from collections.abc import Iterable

from implementation.objects import EndpointSlice, SliceEndpoint
from implementation.state.desired import Endpoint

PortKey = tuple[str, str]  # port name, protocol as the API spells it


def merge(slices: Iterable[EndpointSlice], family: int, node: str) -> dict[PortKey, tuple[Endpoint, ...]]:
    """Endpoints by port name and protocol, each "ip:port" once, in order of the "ip:port" text.

    The text order (10.0.0.10 before 10.0.0.2) is upstream's, and decides which chain comes first.
    """
    found: dict[PortKey, dict[tuple[str, int], Endpoint]] = {}
    for part in sorted(slices, key=lambda s: s.name):
        if part.family != family:
            continue
        for port in part.ports:
            pool = found.setdefault((port.name, port.protocol), {})
            for source in part.endpoints:
                endpoint = seen_from(source, port.port, node)
                known = pool.get((endpoint.address, endpoint.port))
                pool[endpoint.address, endpoint.port] = (
                    endpoint if known is None else livelier(known, endpoint)
                )
    return {key: tuple(sorted(pool.values(), key=lambda e: e.target)) for key, pool in found.items()}


def seen_from(source: SliceEndpoint, port: int, node: str) -> Endpoint:
    """The endpoint at ``port`` as the node named ``node`` sees it."""
    return Endpoint(
        address=source.address,
        port=port,
        local=bool(node) and source.node == node,
        ready=source.ready,
        serving=source.serving,
        terminating=source.terminating,
        zones=source.zones,
        nodes=source.nodes,
    )


def livelier(first: Endpoint, second: Endpoint) -> Endpoint:
    """Of two records of one "ip:port" the one that can take traffic; on a draw the local one, then the first.

    A pod that ended and a new one with the same address overlap for a while (kubernetes #135266).
    """
    return second if _rank(second) > _rank(first) else first


def _rank(endpoint: Endpoint) -> tuple[bool, bool, bool]:
    return (endpoint.ready, endpoint.serving, endpoint.local)
