"""PodDisruptionBudget → how many of its pods may be evicted now.

Rules: ``pkg/controller/disruption`` of Kubernetes 1.36; the API server holds evictions against the status.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from clusters.controllers.cache import Change, Key, controller_of, key_of
from clusters.controllers.pods import (
    is_finished,
    is_ready,
    is_terminating,
    matches,
    seconds_of,
    stamp_of,
)
from clusters.controllers.runtime import Worker
from clusters.controllers.world import KINDS, World

Object = dict[str, Any]
_PLURAL = "poddisruptionbudgets"
_UNDER_WAY = 120.0  # seconds after which an evicted pod that is still there counts again


def covers(budget: Object, pod: Object) -> bool:
    """Whether a budget is about a pod of its namespace; an empty selector is about all of them."""
    selector = budget["spec"].get("selector")
    if selector == {}:
        return True
    return matches(selector, pod["metadata"].get("labels"))


def status_of(budget: Object, pods: Sequence[Object], expected: int, now: float) -> Object:
    """The status for the pods a budget covers; ``expected``: how many their owners want."""
    spec = budget["spec"]
    names = {pod["metadata"]["name"] for pod in pods if not is_terminating(pod)}
    going = {name: at for name, at in ((budget.get("status") or {}).get("disruptedPods") or {}).items()
             if name in names and seconds_of(at) + _UNDER_WAY > now}  # evicted, as was just decided
    healthy = sum(is_ready(pod) and not is_terminating(pod) and pod["metadata"]["name"] not in going
                  for pod in pods)
    if "maxUnavailable" in spec:
        wanted = max(0, expected - _count(spec["maxUnavailable"], expected))
    else:
        least = spec.get("minAvailable", 1)
        if not str(least).endswith("%"):
            expected = len(pods)
        wanted = _count(least, expected)
    allowed = max(0, healthy - wanted) if expected else 0
    held: Object = next(iter((budget.get("status") or {}).get("conditions") or ()), {})
    state, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    generation = budget["metadata"].get("generation", 0)
    since = held.get("lastTransitionTime") if held.get("status") == state else stamp_of(now)
    status: Object = {"disruptedPods": going} if going else {}
    return status | {
        "currentHealthy": healthy, "desiredHealthy": wanted, "expectedPods": expected,
        "disruptionsAllowed": allowed, "observedGeneration": generation,
        "conditions": [{"type": "DisruptionAllowed", "status": state, "reason": reason, "message": "",
                        "observedGeneration": generation, "lastTransitionTime": since}],
    }


def _count(value: int | str, of: int) -> int:
    text = str(value)
    return math.ceil(int(text[:-1]) * of / 100) if text.endswith("%") else int(text)


class Budgets:
    """Keeps the status of every budget."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("PodDisruptionBudget", self._budget)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == _PLURAL:
            self.worker.add(key_of(change.any))
        elif plural in ("pods", "replicasets", "statefulsets"):
            for budget in self.world.caches[_PLURAL].space(change.any["metadata"]["namespace"]):
                if plural != "pods" or any(pod and covers(budget, pod) for pod in (change.old, change.new)):
                    self.worker.add(key_of(budget))

    async def _budget(self, key: Key) -> None:
        budget = self.world.caches[_PLURAL].get(key)
        if budget is None:
            return
        pods = [pod for pod in self.world.caches["pods"].space(key[0])
                if covers(budget, pod) and not is_finished(pod)]
        status = status_of(budget, pods, self._expected(key[0], pods), time.time())
        if status != (budget.get("status") or {}):
            await self.world.set_status(_PLURAL, budget, status)

    def _expected(self, namespace: str, pods: Sequence[Object]) -> int:
        """How many pods the owners of these pods want together; one without an owner counts as itself."""
        owners, alone = {}, 0
        for pod in pods:
            ref = controller_of(pod)
            plural = KINDS.get(ref["kind"]) if ref else None
            owner = self.world.caches[plural].get((namespace, ref["name"])) if plural and ref else None
            if owner is None:
                alone += 1
            else:
                owners[owner["metadata"]["uid"]] = int(owner["spec"].get("replicas", 1))
        return sum(owners.values()) + alone
