"""ReplicaSet → Pods: how many to make, which to remove, and the status. Pure."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.controllers.cache import controller_of
from clusters.controllers.pods import available_at, condition, is_active, is_ready, matches, seconds_of

Object = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What one ReplicaSet needs now."""

    create: int = 0
    delete: list[Object] = field(default_factory=list)
    adopt: list[Object] = field(default_factory=list)
    status: Object | None = None  # to be written; None when what is stored is right
    again: float | None = None  # seconds until a pod becomes available by waiting alone


def owner_reference(owner: Object) -> Object:
    """The reference a controlled object carries to its owner."""
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }


def pod_for(replicaset: Object) -> Object:
    """The next pod of a ReplicaSet, as it is posted."""
    meta, template = replicaset["metadata"], copy.deepcopy(replicaset["spec"].get("template") or {})
    wanted = template.get("metadata") or {}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": f"{meta['name']}-", "namespace": meta["namespace"],
            **{name: wanted[name] for name in ("labels", "annotations", "finalizers") if wanted.get(name)},
            "ownerReferences": [owner_reference(replicaset)],
        },
        "spec": template.get("spec") or {},
    }


def plan(replicaset: Object, pods: Sequence[Object], now: float) -> Plan:
    """Decide for one ReplicaSet; ``pods`` are its namespace's pods, ``now`` seconds since 1970."""
    spec, uid = replicaset["spec"], replicaset["metadata"]["uid"]
    going = bool(replicaset["metadata"].get("deletionTimestamp"))
    mine = [pod for pod in pods if (controller_of(pod) or {}).get("uid") == uid and is_active(pod)]
    strays = [] if going else [
        pod for pod in pods if controller_of(pod) is None and is_active(pod)
        and matches(spec.get("selector"), pod["metadata"].get("labels"))]
    mine += strays
    missing = 0 if going else int(spec.get("replicas", 1)) - len(mine)
    status, again = status_of(replicaset, mine, now)
    return Plan(
        create=max(missing, 0), delete=first_to_go(mine)[:max(-missing, 0)], adopt=strays,
        status=None if status == _comparable(replicaset.get("status")) else status, again=again,
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


def status_of(replicaset: Object, pods: Sequence[Object], now: float) -> tuple[Object, float | None]:
    """The status for these active pods, and seconds until it changes by waiting alone (or None)."""
    spec = replicaset["spec"]
    wanted = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    times = [available_at(pod, float(spec.get("minReadySeconds") or 0)) for pod in pods]
    waits = [at - now for at in times if at is not None and at > now]
    counts = {
        "replicas": len(pods),
        "fullyLabeledReplicas": sum(
            wanted.items() <= (pod["metadata"].get("labels") or {}).items() for pod in pods),
        "readyReplicas": sum(is_ready(pod) for pod in pods),
        "availableReplicas": sum(at is not None and at <= now for at in times),
        "observedGeneration": replicaset["metadata"].get("generation", 0),
    }
    return {name: n for name, n in counts.items() if n or name == "replicas"}, min(waits, default=None)


def _comparable(status: Object | None) -> Object:
    return {name: value for name, value in (status or {}).items() if name != "conditions"}
