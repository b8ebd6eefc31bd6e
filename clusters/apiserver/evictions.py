"""Evictions: a pod is deleted only when the disruption budgets that cover it allow it. Pure.

Rule and words: ``pkg/registry/core/pod/storage/eviction.go`` of Kubernetes 1.36. How much a budget allows is
counted by the controllers; an eviction takes one of it at once, so that two cannot share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clusters.apiserver.builtin import builtin
from clusters.apiserver.deletion import DeleteOptions
from clusters.apiserver.resources import Resource
from clusters.apiserver.selectors import matches_label_selector
from clusters.apiserver.settling import thaw, timestamp
from clusters.apiserver.status import Refused
from clusters.apiserver.store import Key

if TYPE_CHECKING:
    from clusters.apiserver.registry import Registry

Object = dict[str, Any]
_BUDGETS = builtin("policy", "v1", "poddisruptionbudgets")
_ENDED = {"Succeeded", "Failed"}
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_WORDS = "Cannot evict pod as it would violate the pod's disruption budget."


def evict(registry: Registry, pods: Resource, key: Key, options: DeleteOptions) -> None:
    """Deletes a pod if its budgets allow it. Refused: 404; 429 where one does not, 500 where it has two."""
    pod = registry.get(pods, key).object
    status = pod.get("status") or {}
    ended = status.get("phase") in _ENDED or "deletionTimestamp" in pod["metadata"]
    if ended or status.get("phase") == "Pending":
        registry.delete(pods, key, options)
        return
    covering = [
        name
        for name, entry in registry.store.select(_BUDGETS, key[0])
        if _covers(entry.object, pod)
    ]
    if len(covering) > 1:
        raise Refused(500, "InternalError", _SEVERAL)
    if covering:
        _spend(registry, covering[0], pod, dry_run=options.dry_run)
    registry.delete(pods, key, options)


def _covers(budget: Object, pod: Object) -> bool:
    selector = budget["spec"].get("selector")
    return selector is not None and matches_label_selector(selector, pod["metadata"].get("labels") or {})


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _spend(registry: Registry, key: Key, pod: Object, *, dry_run: bool) -> None:
    """Takes one disruption from a budget. Refused 429: it has none to give."""
    budget = thaw(_BUDGETS, registry.get(_BUDGETS, key))
    status = budget.get("status") or {}
    healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not _is_ready(pod):
        always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        if always or (wanted > 0 and healthy >= wanted):
            return  # what does not serve disturbs nobody by going
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _refused(f"The disruption budget {key[1]} is still being processed by the server.")
    if status.get("disruptionsAllowed", 0) <= 0:
        if healthy <= wanted:
            now = f"needs {wanted} healthy pods and has {healthy} currently"
        else:
            now = "does not allow evicting pods currently"
        raise _refused(f"The disruption budget {key[1]} {now}")
    if dry_run:
        return
    status["disruptionsAllowed"] -= 1
    status.setdefault("disruptedPods", {})[pod["metadata"]["name"]] = timestamp(registry.now())
    registry.update(_BUDGETS, key, {**budget, "status": status}, "status")


def _refused(why: str) -> Refused:
    cause = {"reason": "DisruptionBudget", "message": why}
    return Refused(429, "TooManyRequests", _WORDS, {"causes": [cause]})
