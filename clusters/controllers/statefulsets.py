"""StatefulSet → pods with names that last: one after the other, replaced from the last. Pure.

Rules: ``pkg/controller/statefulset`` of Kubernetes 1.36.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.controllers.history import HASH_LABEL, template_of
from clusters.controllers.podcontrol import pod_from
from clusters.controllers.pods import available_at, is_finished, is_ready, is_terminating

Object = dict[str, Any]
_NAME_LABEL, _INDEX_LABEL = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


@dataclass
class Plan:
    """What one StatefulSet needs now."""

    create: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    status: Object | None = None
    again: float | None = None  # seconds until a pod becomes available by waiting alone


@dataclass(frozen=True)
class Revisions:
    """The revision pods were of before the present update, and the one they become."""

    current: Object
    update: Object

    def name_at(self, owner: Object, ordinal: int) -> str:
        """The revision a new pod with this number is of: below ``partition`` the old one."""
        strategy = owner["spec"].get("updateStrategy") or {}
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        rolls = strategy.get("type", "RollingUpdate") == "RollingUpdate"
        kept = rolls and ordinal - start_of(owner) < partition
        return str((self.current if kept else self.update)["metadata"]["name"])


def start_of(owner: Object) -> int:
    """The first number."""
    return int((owner["spec"].get("ordinals") or {}).get("start", 0))


def ordinal_of(owner: Object, pod: Object) -> int:
    """A pod's number, -1 for a pod that is not named as one of the set."""
    head, _, number = pod["metadata"]["name"].rpartition("-")
    return int(number) if head == owner["metadata"]["name"] and number.isdecimal() else -1


def pod_for(owner: Object, ordinal: int, revisions: Revisions) -> Object:
    """The pod with this number, of the revision that is due to it."""
    name, revision = f"{owner['metadata']['name']}-{ordinal}", revisions.name_at(owner, ordinal)
    chosen = revisions.update if revision == revisions.update["metadata"]["name"] else revisions.current
    template = template_of(chosen)
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels |= {HASH_LABEL: revision, _NAME_LABEL: name, _INDEX_LABEL: str(ordinal)}
    spec = template["spec"]
    spec["hostname"] = name
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    claims = {claim["metadata"]["name"]: claim_name(claim, name)
              for claim in owner["spec"].get("volumeClaimTemplates") or ()}
    if claims:
        rest = [volume for volume in spec.get("volumes") or () if volume.get("name") not in claims]
        spec["volumes"] = [{"name": short, "persistentVolumeClaim": {"claimName": full}}
                           for short, full in claims.items()] + rest
    return pod_from(owner, template, name=name)


def claim_name(claim: Object, pod: str) -> str:
    """The name of a pod's own volume claim."""
    return f"{claim['metadata']['name']}-{pod}"


def claims_for(owner: Object, pod: Object) -> list[Object]:
    """The volume claims a pod needs before it is made."""
    found = []
    labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    for claim in owner["spec"].get("volumeClaimTemplates") or ():
        made = copy.deepcopy(claim) | {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        made.pop("status", None)
        made["metadata"] |= {
            "name": claim_name(claim, pod["metadata"]["name"]), "namespace": pod["metadata"]["namespace"],
            "labels": (claim["metadata"].get("labels") or {}) | labels,
        }
        found.append(made)
    return found


def plan(owner: Object, pods: Sequence[Object], revisions: Revisions, now: float) -> Plan:
    """Decide for one StatefulSet; ``pods`` are its own."""
    spec, first = owner["spec"], start_of(owner)
    wanted = range(first, first + int(spec.get("replicas", 1)))
    by_number = {ordinal_of(owner, pod): pod for pod in pods}
    least = float(spec.get("minReadySeconds") or 0)
    found = Plan()
    status = _status(owner, pods, revisions, least, now)
    found.status = None if status == (owner.get("status") or {}) else status
    waits = [at - now for pod in pods if (at := available_at(pod, least)) is not None and at > now]
    found.again = min(waits, default=None)
    if not is_terminating(owner):
        in_turn = spec.get("podManagementPolicy", "OrderedReady") != "Parallel"
        if _filled(found, owner, wanted, by_number, revisions, least, now, in_turn) \
                and _emptied(found, wanted, by_number, least, now, in_turn):
            _roll(found, owner, wanted, by_number, revisions, least, now)
    return found


def _is_available(pod: Object, least: float, now: float) -> bool:
    at = available_at(pod, least)
    return not is_terminating(pod) and at is not None and at <= now


def _filled(
    found: Plan, owner: Object, wanted: range, by_number: dict[int, Object], revisions: Revisions,
    least: float, now: float, in_turn: bool,
) -> bool:
    """Make what is missing, from the first; with ``in_turn`` each waits for those before it."""
    for number in wanted:
        pod = by_number.get(number)
        if pod is None:
            found.create.append(pod_for(owner, number, revisions))
        elif is_finished(pod) and not is_terminating(pod):
            found.delete.append(pod)
        elif (not in_turn or _is_available(pod, least, now)) and not (is_finished(pod)):
            continue
        if in_turn:
            return False
    return not found.create and not found.delete


def _emptied(
    found: Plan, wanted: range, by_number: dict[int, Object], least: float, now: float, in_turn: bool,
) -> bool:
    """Remove what is too many, from the last; with ``in_turn`` one at a time, while the others serve."""
    condemned = sorted((n for n in by_number if n >= 0 and n not in wanted), reverse=True)
    unhealthy = [n for n in sorted(by_number) if n >= 0 and not _is_available(by_number[n], least, now)]
    for number in condemned:
        pod = by_number[number]
        if not is_terminating(pod):
            waits = in_turn and not _is_available(pod, least, now) and unhealthy[0] != number
            if not waits:
                found.delete.append(pod)
        if in_turn:
            return False
    return not condemned


def _roll(
    found: Plan, owner: Object, wanted: range, by_number: dict[int, Object], revisions: Revisions,
    least: float, now: float,
) -> None:
    """One step of a rolling update: the highest old pod goes once all above it are new and serve."""
    if (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") != "RollingUpdate":
        return
    for number in reversed(wanted):
        pod, due = by_number[number], revisions.name_at(owner, number)
        if due != revisions.update["metadata"]["name"]:
            return
        if pod["metadata"]["labels"].get(HASH_LABEL) != due and not is_terminating(pod):
            found.delete.append(pod)
            return
        if not _is_available(pod, least, now):
            return


def _status(
    owner: Object, pods: Sequence[Object], revisions: Revisions, least: float, now: float,
) -> Object:
    held = owner.get("status") or {}
    current, update = (r["metadata"]["name"] for r in (revisions.current, revisions.update))

    def of(revision: str) -> int:
        return sum(not is_terminating(pod) and pod["metadata"]["labels"].get(HASH_LABEL) == revision
                   for pod in pods)

    counts = {
        "observedGeneration": owner["metadata"].get("generation", 0), "replicas": len(pods),
        "readyReplicas": sum(is_ready(pod) for pod in pods),
        "currentReplicas": of(current), "updatedReplicas": of(update),
        "availableReplicas": sum(is_ready(p) and (available_at(p, least) or 0) <= now for p in pods),
    }
    replicas = int(owner["spec"].get("replicas", 1))
    if counts["updatedReplicas"] == counts["replicas"] == counts["readyReplicas"] == replicas:
        counts["currentReplicas"], current = counts["updatedReplicas"], update
    always = ("replicas", "availableReplicas")
    return {name: n for name, n in counts.items() if n or name in always} | {
        "currentRevision": current, "updateRevision": update,
        "collisionCount": held.get("collisionCount") or 0,
    }
