"""Carries out what ``autoscalers.py`` decides."""

from __future__ import annotations

import time
from typing import Any

from clusters.controllers import autoscalers
from clusters.controllers.cache import Change, Key, key_of
from clusters.controllers.runtime import Worker
from clusters.controllers.world import KINDS, World, path_of

Object = dict[str, Any]
_COMPONENT = "horizontal-pod-autoscaler"
_SCALED = ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController")


class Autoscalers:
    """Keeps the targets of autoscalers within their bounds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("HorizontalPodAutoscaler", self._scaler)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        item = change.any
        if plural == "horizontalpodautoscalers":
            self.worker.add(key_of(item))
        elif plural in {KINDS[kind] for kind in _SCALED}:
            namespace, kind = item["metadata"]["namespace"], item["kind"]
            for scaler in self.world.caches["horizontalpodautoscalers"].space(namespace):
                to = scaler["spec"]["scaleTargetRef"]
                if (to["kind"], to["name"]) == (kind, item["metadata"]["name"]):
                    self.worker.add(key_of(scaler))

    async def _scaler(self, key: Key) -> None:
        world, item = self.world, self.world.caches["horizontalpodautoscalers"].get(key)
        if item is None:
            return
        to = item["spec"]["scaleTargetRef"]
        known = to["kind"] in _SCALED
        target = world.caches[KINDS[to["kind"]]].get((key[0], to["name"])) if known else None
        plan = autoscalers.plan(item, target, time.time())
        if plan.replicas is not None and target is not None:
            path = f"{path_of(KINDS[to['kind']], target)}/scale"
            await world.client.patch(path, {"spec": {"replicas": plan.replicas}})
            words = f"New size: {plan.replicas}; reason: {plan.why}"
            world.events.note(item, _COMPONENT, "SuccessfulRescale", words)
        if plan.status is not None:
            await world.set_status("horizontalpodautoscalers", item, plan.status)
        for reason, message in plan.trouble:
            world.events.warn(item, _COMPONENT, reason, message)
