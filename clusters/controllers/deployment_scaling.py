"""How many replicas each ReplicaSet of a Deployment has next: rolling out, replacing, scaling. Pure.

Rules: ``pkg/controller/deployment`` (``rolling.go``, ``recreate.go``, ``sync.go``) of Kubernetes 1.36.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from clusters.controllers.deployment_status import bounds, size

Object = dict[str, Any]
Sizes = list[tuple[Object, int]]  # the ReplicaSets that change, and their new number of replicas

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"


def number(rs: Object, note: str) -> int | None:
    """A whole number in an annotation; None where there is none."""
    text = str((rs["metadata"].get("annotations") or {}).get(note, ""))
    return int(text) if text.isdecimal() else None


def replica_notes(deployment: Object) -> dict[str, str]:
    """The annotations that say what a ReplicaSet's size was decided for."""
    replicas = size(deployment)
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + bounds(deployment)[0])}


def is_scaling(deployment: Object, mine: Sequence[Object]) -> bool:
    """Whether the Deployment's replicas were changed since the running sets got their size."""
    wanted = size(deployment)
    return any(size(rs) and number(rs, DESIRED) not in (None, wanted) for rs in mine)


def first_size(deployment: Object, old: Sequence[Object]) -> int:
    """How many replicas a new ReplicaSet begins with."""
    replicas = size(deployment)
    if recreates(deployment):
        return replicas
    room = replicas + bounds(deployment)[0] - sum(size(rs) for rs in old)
    return max(0, min(room, replicas))


def recreates(deployment: Object) -> bool:
    """Whether all old pods go before the first new one comes."""
    return (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"


def resized(deployment: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """Follow ``replicas`` without rolling out: the one running set does, several do in proportion."""
    every = [*old, *([new] if new else [])]
    running, replicas = [rs for rs in every if size(rs)], size(deployment)
    if len(running) <= 1:
        last = running or ([new] if new else list(old[-1:]))
        return [(rs, replicas) for rs in last if size(rs) != replicas]
    if new is not None and size(new) == replicas == number(new, DESIRED) == _available(new):
        return [(rs, 0) for rs in running if rs is not new]
    return [] if recreates(deployment) else _proportional(deployment, running)


def _proportional(deployment: Object, running: Sequence[Object]) -> Sizes:
    """Spread what is to be added or taken over the running sets, by their sizes; the largest takes the rest.

    ``running`` is oldest first. Of equals the newer grow, and the older shrink, first.
    """
    most = size(deployment) + bounds(deployment)[0] if size(deployment) else 0
    add = most - sum(size(rs) for rs in running)
    if not add:
        return []
    order = sorted(running[::-1] if add > 0 else running, key=size, reverse=True)
    sizes, added = [], 0
    for rs in order:
        share, left = _share(deployment, rs, most), add - added
        share = min(share, left) if add > 0 else max(share, left)
        sizes.append(size(rs) + share)
        added += share
    sizes[0] = max(0, sizes[0] + add - added)
    return [(rs, count) for rs, count in zip(order, sizes, strict=True) if count != size(rs)]


def _share(deployment: Object, rs: Object, most: int) -> int:
    if not size(deployment):
        return -size(rs)
    before = number(rs, MAXIMUM) or int((deployment.get("status") or {}).get("replicas") or 0)
    return math.floor(size(rs) * most / before + 0.5) - size(rs) if before else 0


def stepped(deployment: Object, new: Object, old: Sequence[Object], old_pods: int) -> Sizes:
    """One step of the update: the new set grows where there is room, the old ones shrink where allowed."""
    replicas, have = size(deployment), size(new)
    running = [rs for rs in old if size(rs)]
    if recreates(deployment):
        if running or old_pods:
            return [(rs, 0) for rs in running]
        return [(new, replicas)] if have != replicas else []
    surge, below = bounds(deployment)
    total = have + sum(size(rs) for rs in running)
    if have > replicas:
        return [(new, replicas)]
    if grown := max(0, min(replicas + surge - total, replicas - have)):
        return [(new, have + grown)]
    return _shrunk(running, total, replicas - below, new)


def _shrunk(running: Sequence[Object], total: int, least: int, new: Object) -> Sizes:
    """How far the old sets may go down: unavailable pods first, then as far as ``least`` stay available."""
    waiting = size(new) - _available(new)
    room = total - least - waiting
    sizes = {rs["metadata"]["name"]: size(rs) for rs in running}
    for rs in running:
        sick = min(max(0, sizes[rs["metadata"]["name"]] - _available(rs)), max(0, room))
        sizes[rs["metadata"]["name"]] -= sick
        room -= sick
    spare = min(sum(_available(rs) for rs in (*running, new)) - least, room)
    for rs in running:
        step = min(sizes[rs["metadata"]["name"]], max(0, spare))
        sizes[rs["metadata"]["name"]] -= step
        spare -= step
    return [(rs, sizes[rs["metadata"]["name"]]) for rs in running
            if sizes[rs["metadata"]["name"]] != size(rs)]


def _available(rs: Object) -> int:
    return int((rs.get("status") or {}).get("availableReplicas") or 0)
