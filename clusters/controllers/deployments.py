"""Deployment → ReplicaSets: which to make, how many each, which to drop, and the status. Pure."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from clusters.controllers.cache import controller_of
from clusters.controllers.deployment_status import bounds, size, status_of
from clusters.controllers.pods import seconds_of
from clusters.controllers.replicasets import owner_reference

Object = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAXIMUM = "deployment.kubernetes.io/max-replicas"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' alphabet for generated names: no vowels, no 0 1 3


@dataclass(frozen=True)
class Plan:
    """What one Deployment needs now."""

    create: Object | None = None
    scale: list[tuple[Object, int]] = field(default_factory=list)
    annotate: list[tuple[Object, dict[str, str]]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    revision: str | None = None  # the Deployment's own annotation, when it must change
    status: Object | None = None
    again: float | None = None  # seconds until the progress deadline


def template_hash(template: Object, collisions: int = 0) -> str:
    """Ten characters of the safe alphabet that name a pod template; ``collisions`` gives another name."""
    text = msgspec.json.encode([template, collisions], order="deterministic")
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(_SAFE))
        letters.append(_SAFE[index])
    return "".join(letters)


def owned(deployment: Object, replicasets: Sequence[Object]) -> list[Object]:
    """The ReplicaSets this Deployment controls, oldest first."""
    uid = deployment["metadata"]["uid"]
    mine = [rs for rs in replicasets if (controller_of(rs) or {}).get("uid") == uid]
    return sorted(mine, key=lambda rs: (seconds_of(rs["metadata"].get("creationTimestamp")), _revision(rs),
                                        rs["metadata"]["name"]))


def current(deployment: Object, mine: Sequence[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's present template, if it is there."""
    wanted, name = deployment["spec"]["template"], _name(deployment)
    for rs in mine:
        if rs["metadata"]["name"] == name:
            return rs
        template = copy.deepcopy(rs["spec"]["template"])
        (template.get("metadata", {}).get("labels") or {}).pop(HASH_LABEL, None)
        if template == wanted:
            return rs
    return None


def plan(deployment: Object, replicasets: Sequence[Object], old_pods: int, now: float) -> Plan:
    """Decide for one Deployment.

    ``replicasets`` are its namespace's; ``old_pods`` how many pods of its older ReplicaSets still run (only
    Recreate waits for them); ``now`` is seconds since 1970.
    """
    mine = owned(deployment, replicasets)
    new = current(deployment, mine)
    status, again = status_of(deployment, mine, new, now)
    kept = None if status == (deployment.get("status") or {}) else status
    if deployment["metadata"].get("deletionTimestamp"):
        return Plan(status=kept)
    spec = deployment["spec"]
    old = [rs for rs in mine if rs is not new]
    revision = max([_revision(rs) for rs in old], default=0) + 1
    if new is None:
        if spec.get("paused"):
            return Plan(scale=_resize(deployment, old), status=kept, again=again)
        recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        if recreate and (down := [(rs, 0) for rs in old if size(rs)]):
            return Plan(scale=down, status=kept, again=again)
        if not recreate or not old_pods:
            return Plan(create=replicaset_for(deployment, old, revision), status=kept, again=again)
        return Plan(status=kept, again=again)
    revision = max(revision, _revision(new))
    notes = _notes(deployment, revision)
    changed = (new["metadata"].get("annotations") or {}) | notes != (new["metadata"].get("annotations") or {})
    annotations = deployment["metadata"].get("annotations") or {}
    return Plan(
        scale=_scale(deployment, new, old, old_pods), annotate=[(new, notes)] if changed else [],
        delete=_leftover(deployment, old),
        revision=str(revision) if annotations.get(REVISION) != str(revision) else None,
        status=kept, again=again,
    )


def _name(deployment: Object) -> str:
    collisions = (deployment.get("status") or {}).get("collisionCount", 0)
    return f"{deployment['metadata']['name']}-{template_hash(deployment['spec']['template'], collisions)}"


def _revision(rs: Object) -> int:
    text = str((rs["metadata"].get("annotations") or {}).get(REVISION, "0"))
    return int(text) if text.isdecimal() else 0


def _notes(deployment: Object, revision: int) -> dict[str, str]:
    replicas, surge = size(deployment), bounds(deployment)[0]
    return {_DESIRED: str(replicas), _MAXIMUM: str(replicas + surge), REVISION: str(revision)}


def replicaset_for(deployment: Object, old: Sequence[Object], revision: int) -> Object:
    """The ReplicaSet for the present template, with as many replicas as may run at once."""
    meta, spec, name = deployment["metadata"], deployment["spec"], _name(deployment)
    mark = {HASH_LABEL: name.rsplit("-", 1)[1]}
    template, selector = copy.deepcopy(spec["template"]), copy.deepcopy(spec.get("selector") or {})
    labels = template.setdefault("metadata", {}).get("labels") or {}
    template["metadata"]["labels"] = labels | mark
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | mark
    kept = {key: value for key, value in (meta.get("annotations") or {}).items()
            if key not in (REVISION, "kubectl.kubernetes.io/last-applied-configuration")}
    wanted: Object = {"selector": selector, "template": template, "replicas": _first_size(deployment, old)}
    if spec.get("minReadySeconds"):
        wanted["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": meta["namespace"], "labels": labels | mark,
            "annotations": kept | _notes(deployment, revision),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": wanted,
    }


def _first_size(deployment: Object, old: Sequence[Object]) -> int:
    replicas = size(deployment)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return replicas
    room = replicas + bounds(deployment)[0] - sum(size(rs) for rs in old)
    return max(0, min(room, replicas))


def _resize(deployment: Object, old: Sequence[Object]) -> list[tuple[Object, int]]:
    """A paused Deployment still follows ``replicas``: its one running (else newest) ReplicaSet does."""
    running = [rs for rs in old if size(rs)] or list(old[-1:])
    replicas = size(deployment)
    if len(running) == 1 and size(running[0]) != replicas:
        return [(running[0], replicas)]
    return []


def _scale(
    deployment: Object, new: Object, old: Sequence[Object], old_pods: int,
) -> list[tuple[Object, int]]:
    """One step of the update: the new set grows where there is room, the old ones shrink where allowed."""
    spec = deployment["spec"]
    replicas, have = int(spec.get("replicas", 1)), size(new)
    running = [rs for rs in old if size(rs)]
    if spec.get("paused") and running:
        return []
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        if running or old_pods:
            return [(rs, 0) for rs in running]
        return [(new, replicas)] if have != replicas else []
    surge, below = bounds(deployment)
    total = have + sum(size(rs) for rs in running)
    if have > replicas:
        return [(new, replicas)]
    if grown := max(0, min(replicas + surge - total, replicas - have)):
        return [(new, have + grown)]
    return _shrink(running, total, replicas - below, new)


def _shrink(running: Sequence[Object], total: int, least: int, new: Object) -> list[tuple[Object, int]]:
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


def _leftover(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old, empty ReplicaSets beyond ``revisionHistoryLimit``, lowest revision first."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    empty = [rs for rs in old if not size(rs)
             and not (rs.get("status") or {}).get("replicas") and not rs["metadata"].get("deletionTimestamp")]
    return sorted(empty, key=_revision)[:max(0, len(old) - limit)]
