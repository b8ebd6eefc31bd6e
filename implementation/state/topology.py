"""Which ready endpoints are near enough to this node, by the hints in the slices."""

from __future__ import annotations

from collections.abc import Sequence

from implementation.state.desired import Endpoint, ThisNode


def nearby(ready: Sequence[Endpoint], node: ThisNode) -> tuple[Endpoint, ...] | None:
    """The ready endpoints meant for this node, or None where hints decide nothing.

    All or nothing (KEP-2433, KEP-3015): one endpoint without a hint switches hints off; a node first, then
    its zone.
    """
    if not ready:
        return None
    here = tuple(e for e in ready if node.name in e.nodes)
    if here and all(e.nodes for e in ready):
        return here
    near = tuple(e for e in ready if node.zone in e.zones)
    if node.zone and near and all(e.zones for e in ready):
        return near
    return None
