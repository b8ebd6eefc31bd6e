"""Carries out what ``statefulsets.py`` decides."""

from __future__ import annotations

import time
from typing import Any

from clusters.client import AlreadyExists, ApiError
from clusters.controllers import history, revisions, statefulsets
from clusters.controllers.cache import Key
from clusters.controllers.podcontrol import PodControl
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World

Object = dict[str, Any]
_COMPONENT = "statefulset-controller"


class StatefulSets:
    """Keeps the named pods of every StatefulSet."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("StatefulSet", self._set)
        self._pods = PodControl(world, self.worker, "StatefulSet", _COMPONENT)

    async def _set(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches["statefulsets"].get(key)
        if item is None:
            return None
        status = item.get("status") or {}
        pods = [pod for pod in await self._pods.claimed(item) if statefulsets.ordinal_of(item, pod) >= 0]
        marks = {status.get("currentRevision")} | {
            pod["metadata"]["labels"].get(history.HASH_LABEL) for pod in pods}
        found = await revisions.kept(world, self._pods, item, marks)
        if found is None:
            return None
        update, every = found
        named = {revision["metadata"]["name"]: revision for revision in every}
        current = named.get(status.get("currentRevision") or "", update)
        plan = statefulsets.plan(item, pods, statefulsets.Revisions(current, update), time.time())
        if plan.status is not None:
            item = await world.set_status("statefulsets", item, plan.status)
        for pod in plan.create:
            await self._make(item, pod)
        for pod in plan.delete:
            await world.delete("pods", pod)
            self._say(item, "Delete", pod)
        return plan.again

    async def _make(self, owner: Object, pod: Object) -> None:
        try:
            for claim in statefulsets.claims_for(owner, pod):
                await self._claim(owner, pod, claim)
            await self.world.create("pods", pod)
        except AlreadyExists:  # one that is not ours: it is waited for, as Kubernetes does
            raise
        except ApiError as error:
            if error.status in (403, 422):
                self._say(owner, "Create", pod, error)
            raise
        self._say(owner, "Create", pod)

    async def _claim(self, owner: Object, pod: Object, claim: Object) -> None:
        meta = claim["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/persistentvolumeclaims"
        try:
            await self.world.client.create(path, claim)
        except AlreadyExists:
            return
        words = (f"Create Claim {meta['name']} Pod {pod['metadata']['name']} in StatefulSet "
                 f"{owner['metadata']['name']} success")
        self.world.events.note(owner, _COMPONENT, "SuccessfulCreate", words)

    def _say(self, owner: Object, verb: str, pod: Object, error: ApiError | None = None) -> None:
        words = f"{verb} Pod {pod['metadata']['name']} in StatefulSet {owner['metadata']['name']}"
        if error is None:
            self.world.events.note(owner, _COMPONENT, f"Successful{verb}", f"{words} successful")
        else:
            self.world.events.warn(owner, _COMPONENT, f"Failed{verb}", f"{words} failed error: {error}")
