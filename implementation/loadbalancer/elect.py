"""Who announces an address: the candidates, and their order. Pure.

The order is MetalLB's: rendezvous hashing by SHA-256 over ``node#address``, where the address is the first
one of the service as text. So with the same nodes and addresses the same node announces as under MetalLB,
and the loss of a node moves only the addresses it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

import msgspec

from implementation.objects.balanced import BalancedNode
from implementation.objects.pools import L2Advertisement


class Endpoint(msgspec.Struct, frozen=True):
    """Where one endpoint runs, and whether it can be used (ready, or still serving while it ends)."""

    node: str
    usable: bool


def order(nodes: Iterable[str], address: str) -> tuple[str, ...]:
    """The nodes from first to last choice for this address; ends of equal hash cannot happen in practice."""
    return tuple(sorted(set(nodes), key=lambda node: (sha256(f"{node}#{address}".encode()).digest(), node)))


def candidates(
    nodes: Sequence[BalancedNode], endpoints: Sequence[Endpoint], adverts: Sequence[L2Advertisement],
    *, external_local: bool,
) -> list[str]:
    """Nodes that may announce a service: nobody without a usable endpoint or without an advertisement.

    With externalTrafficPolicy Local only nodes with a usable endpoint, as others would drop the traffic.
    Not-ready and cordoned nodes stay: whether a node can announce is seen by heartbeats, not by the API.
    """
    usable = {endpoint.node for endpoint in endpoints if endpoint.usable}
    if not usable or not adverts:
        return []
    return [
        node.name for node in nodes
        if not node.excluded and node.address
        and (not external_local or node.name in usable)
        and any(_selects(advert, dict(node.labels)) for advert in adverts)
    ]


def _selects(advert: L2Advertisement, labels: Mapping[str, str]) -> bool:
    return not advert.node_selectors or any(selector.accepts(labels) for selector in advert.node_selectors)


def interfaces(adverts: Sequence[L2Advertisement]) -> frozenset[str] | None:
    """Interfaces to announce on: the union of the lists, or None for every one (an advertisement without a
    list).
    """
    if any(not advert.interfaces for advert in adverts):
        return None
    return frozenset(name for advert in adverts for name in advert.interfaces)
