"""Deployment → ReplicaSets: which to make, how many each, which to drop, and the status. Pure."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from clusters.controllers.claims import owner_reference
from clusters.controllers.deployment_scaling import (
    DESIRED,
    MAXIMUM,
    Sizes,
    first_size,
    is_scaling,
    number,
    recreates,
    replica_notes,
    resized,
    stepped,
)
from clusters.controllers.deployment_status import size, status_of
from clusters.controllers.pods import seconds_of

Object = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_OWN = (REVISION, _HISTORY, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to")  # annotations that are not handed on to ReplicaSets
_LONGEST_HISTORY = 2000  # characters
_SAFE = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' alphabet for generated names: no vowels, no 0 1 3


@dataclass(frozen=True)
class Plan:
    """What one Deployment needs now."""

    create: Object | None = None
    scale: Sizes = field(default_factory=list)
    amend: list[tuple[Object, Object]] = field(default_factory=list)  # ReplicaSets and patches of them
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


def in_order(mine: Sequence[Object]) -> list[Object]:
    """ReplicaSets, oldest first."""
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

    ``replicasets`` are its own; ``old_pods`` how many pods of its older ReplicaSets still run (only Recreate
    waits for them); ``now`` is seconds since 1970.
    """
    mine = in_order(replicasets)
    new = current(deployment, mine)
    status, again = status_of(deployment, mine, new, now)
    kept = None if status == (deployment.get("status") or {}) else status
    if deployment["metadata"].get("deletionTimestamp"):
        return Plan(status=kept)
    old = [rs for rs in mine if rs is not new]
    rolls = not deployment["spec"].get("paused") and not is_scaling(deployment, mine)
    revision = max([_revision(rs) for rs in old], default=0) + 1
    if new is None:
        if rolls and recreates(deployment) and (down := [(rs, 0) for rs in old if size(rs)]):
            return Plan(scale=down, status=kept, again=again)
        if rolls and not (recreates(deployment) and old_pods):
            return Plan(create=replicaset_for(deployment, old, revision), status=kept, again=again)
        scale = [] if rolls else resized(deployment, None, old)
        return Plan(scale=scale, amend=_resized_notes(deployment, old, rolls), status=kept, again=again)
    revision = max(revision, _revision(new))
    scale = stepped(deployment, new, old, old_pods) if rolls else resized(deployment, new, old)
    annotations = deployment["metadata"].get("annotations") or {}
    return Plan(
        scale=scale, amend=_amended(deployment, new, revision) + _resized_notes(deployment, mine, rolls),
        delete=_leftover(deployment, old),
        revision=str(revision) if annotations.get(REVISION) != str(revision) else None,
        status=kept, again=again,
    )


def _name(deployment: Object) -> str:
    collisions = (deployment.get("status") or {}).get("collisionCount", 0)
    return f"{deployment['metadata']['name']}-{template_hash(deployment['spec']['template'], collisions)}"


def _revision(rs: Object) -> int:
    return number(rs, REVISION) or 0


def _handed_on(deployment: Object) -> dict[str, str]:
    given: Mapping[str, str] = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in given.items() if key not in _OWN}


def _amended(deployment: Object, new: Object, revision: int) -> list[tuple[Object, Object]]:
    """What of the present ReplicaSet must follow the Deployment: annotations, revision, minReadySeconds."""
    held: Mapping[str, str] = new["metadata"].get("annotations") or {}
    notes = _handed_on(deployment)
    if _revision(new) < revision:
        notes[REVISION] = str(revision)
        if REVISION in held:
            earlier = [*filter(None, held.get(_HISTORY, "").split(",")), held[REVISION]]
            while len(",".join(earlier)) > _LONGEST_HISTORY:
                earlier.pop(0)
            notes[_HISTORY] = ",".join(earlier)
    notes |= {key: value for key, value in replica_notes(deployment).items() if key not in held}
    body: Object = {}
    if changed := {key: value for key, value in notes.items() if held.get(key) != value}:
        body["metadata"] = {"annotations": changed}
    if new["spec"].get("minReadySeconds", 0) != deployment["spec"].get("minReadySeconds", 0):
        body["spec"] = {"minReadySeconds": deployment["spec"].get("minReadySeconds", 0)}
    return [(new, body)] if body else []


def _resized_notes(
    deployment: Object, sets: Sequence[Object], rolls: bool,
) -> list[tuple[Object, Object]]:
    """Once sizes follow a new number of replicas, the running sets note for which number that was."""
    notes = replica_notes(deployment)
    running = [rs for rs in sets if (size(rs) and not rolls) or number(rs, DESIRED) is None]
    return [(rs, {"metadata": {"annotations": notes}}) for rs in running
            if any((rs["metadata"].get("annotations") or {}).get(key) != text for key, text in notes.items())]


def replicaset_for(deployment: Object, old: Sequence[Object], revision: int) -> Object:
    """The ReplicaSet for the present template, with as many replicas as may run at once."""
    meta, spec, name = deployment["metadata"], deployment["spec"], _name(deployment)
    mark = {HASH_LABEL: name.rsplit("-", 1)[1]}
    template, selector = copy.deepcopy(spec["template"]), copy.deepcopy(spec.get("selector") or {})
    labels = template.setdefault("metadata", {}).get("labels") or {}
    template["metadata"]["labels"] = labels | mark
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | mark
    notes = _handed_on(deployment) | replica_notes(deployment) | {REVISION: str(revision)}
    wanted: Object = {"selector": selector, "template": template, "replicas": first_size(deployment, old)}
    if spec.get("minReadySeconds"):
        wanted["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": meta["namespace"], "labels": labels | mark, "annotations": notes,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": wanted,
    }


def _leftover(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old, empty ReplicaSets beyond ``revisionHistoryLimit``, lowest revision first."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    empty = [rs for rs in old if not size(rs)
             and not (rs.get("status") or {}).get("replicas") and not rs["metadata"].get("deletionTimestamp")]
    return sorted(empty, key=_revision)[:max(0, len(old) - limit)]
