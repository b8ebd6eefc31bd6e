"""Carries out what ``replicasets.py`` decides, for ReplicaSets and ReplicationControllers."""

from __future__ import annotations

import time
from typing import Any

from clusters.client import ApiError
from clusters.controllers import replicasets
from clusters.controllers.cache import Key
from clusters.controllers.podcontrol import PodControl, pod_from
from clusters.controllers.runtime import Worker
from clusters.controllers.world import KINDS, World

Object = dict[str, Any]


class Replication:
    """Keeps as many pods as an owner of ``kind`` asks for."""

    def __init__(self, world: World, kind: str, component: str) -> None:
        self.world, self._plural = world, KINDS[kind]
        self.worker = Worker(kind, self._owner)
        self._pods = PodControl(world, self.worker, kind, component)

    async def _owner(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches[self._plural].get(key)
        if item is None:
            return None
        plan = replicasets.plan(item, await self._pods.claimed(item), time.time())
        if not plan.create and not plan.delete:
            if plan.status is not None:
                await world.set_status(self._plural, item, plan.status)
            return plan.again
        template = item["spec"].get("template") or {}
        try:
            await self._pods.change(
                item, [pod_from(item, template) for _ in range(plan.create)], plan.delete)
        except ApiError as error:
            if plan.create and error.status in (403, 422):
                await world.set_status(
                    self._plural, item, replicasets.failed(item, error.message, time.time()))
            raise
        self.worker.add(key)  # the status is counted afterwards, once
        return None
