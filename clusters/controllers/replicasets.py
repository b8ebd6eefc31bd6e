"""ReplicaSet, ReplicationController → Pods: how many to make, which to remove, and the status. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.controllers.pods import (
    available_at,
    condition,
    is_active,
    is_finished,
    is_ready,
    is_terminating,
    seconds_of,
    stamp_of,
)

Object = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What one owner needs now."""

    create: int = 0
    delete: list[Object] = field(default_factory=list)
    status: Object | None = None  # to be written; None when what is stored is right
    again: float | None = None  # seconds until a pod becomes available by waiting alone


def plan(owner: Object, pods: Sequence[Object], now: float) -> Plan:
    """Decide for one ReplicaSet or ReplicationController; ``pods`` are its own."""
    going = bool(owner["metadata"].get("deletionTimestamp"))
    mine = [pod for pod in pods if is_active(pod)]
    missing = 0 if going else int(owner["spec"].get("replicas", 1)) - len(mine)
    status, again = status_of(owner, pods, now)
    return Plan(
        create=max(missing, 0), delete=first_to_go(mine)[:max(-missing, 0)],
        status=None if status == (owner.get("status") or {}) else status, again=again,
    )


def first_to_go(pods: Sequence[Object]) -> list[Object]:
    """The pods in the order in which a scale-down removes them.

    Rule: the reference "ReplicaSet, scaling down": unassigned, pending, not ready, lower deletion cost, more
    of them on the node, shorter ready, more restarts, newer.
    """
    crowd = Counter((pod.get("spec") or {}).get("nodeName") for pod in pods if is_ready(pod))

    def rank(pod: Object) -> tuple[Any, ...]:
        meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
        ready = condition(pod, "Ready") or {}
        restarts = max((c.get("restartCount", 0) for c in status.get("containerStatuses") or ()), default=0)
        return (
            bool(spec.get("nodeName")), status.get("phase", "Pending") != "Pending", is_ready(pod),
            _cost(meta), -crowd[spec.get("nodeName")], -seconds_of(ready.get("lastTransitionTime")),
            -restarts, -seconds_of(meta.get("creationTimestamp")), meta["name"],
        )

    return sorted(pods, key=rank)


def _cost(meta: Object) -> int:
    text = str((meta.get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0"))
    try:
        return int(text)
    except ValueError:
        return 0


def status_of(owner: Object, pods: Sequence[Object], now: float) -> tuple[Object, float | None]:
    """The status for these pods, and seconds until it changes by waiting alone (or None)."""
    spec, mine = owner["spec"], [pod for pod in pods if is_active(pod)]
    wanted = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    times = [available_at(pod, float(spec.get("minReadySeconds") or 0)) for pod in mine]
    waits = [at - now for at in times if at is not None and at > now]
    counts = {
        "replicas": len(mine),
        "fullyLabeledReplicas": sum(
            wanted.items() <= (pod["metadata"].get("labels") or {}).items() for pod in mine),
        "readyReplicas": sum(is_ready(pod) for pod in mine),
        "availableReplicas": sum(at is not None and at <= now for at in times),
        "observedGeneration": owner["metadata"].get("generation", 0),
    }
    if owner["kind"] == "ReplicaSet":
        counts["terminatingReplicas"] = sum(is_terminating(pod) and not is_finished(pod) for pod in pods)
    always = ("replicas", "terminatingReplicas")
    return {name: n for name, n in counts.items() if n or name in always}, min(waits, default=None)


def failed(owner: Object, why: str, now: float) -> Object:
    """The status of an owner whose pods the server refuses, with the condition that says so."""
    status: Object = dict(owner.get("status") or {"replicas": 0})
    held = condition(owner, "ReplicaFailure") or {}
    status["conditions"] = [{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": why,
        "lastTransitionTime": held.get("lastTransitionTime") or stamp_of(now),
    }]
    return status
