"""Carries out what ``jobs.py`` decides."""

from __future__ import annotations

import time
from typing import Any

from clusters.client import NotFound
from clusters.controllers import jobs
from clusters.controllers.cache import Change, Key, controller_of, key_of
from clusters.controllers.podcontrol import PodControl
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World

Object = dict[str, Any]
_COMPONENT = "job-controller"
_UNREAD = 0.1  # seconds to the next look while the Jobs have not been read yet


class Jobs:
    """Runs every Job to its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("Job", self._job)
        self.orphans = Worker("pod of a Job that is gone", self._orphan)
        self._pods = PodControl(world, self.worker, "Job", _COMPONENT)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        """Pods whose Job is no more have nobody who counts them: nothing may hold them back."""
        if plural == "pods" and change.new is not None and jobs.is_tracked(change.new):
            self.orphans.add(key_of(change.new))
        elif plural == "jobs" and change.new is None:
            for pod in self.world.caches["pods"].owned_by(change.any["metadata"]["uid"]):
                self.orphans.add(key_of(pod))

    async def _orphan(self, key: Key) -> float | None:
        pod = self.world.caches["pods"].get(key)
        if pod is None or not jobs.is_tracked(pod):
            return None
        if not self.world.caches["jobs"].synced:
            return _UNREAD
        owner = controller_of(pod) or {}
        if owner and owner.get("kind") != "Job":
            return None
        job = self.world.caches["jobs"].get((key[0], owner.get("name", "")))
        if job is None or job["metadata"]["uid"] != owner.get("uid"):
            await self._release(pod)
        return None

    async def _job(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches["jobs"].get(key)
        if item is None:
            for pod in world.caches["pods"].space(key[0]):
                if jobs.is_tracked(pod):
                    self.orphans.add(key_of(pod))
            return None
        plan = jobs.plan(item, await self._pods.claimed(item), time.time())
        if plan.expired:
            await world.client.request(
                "DELETE", f"/apis/batch/v1/namespaces/{key[0]}/jobs/{key[1]}",
                {"propagationPolicy": "Foreground", "preconditions": {"uid": item["metadata"]["uid"]}})
            return None
        if plan.status is not None:
            await world.set_status("jobs", item, plan.status)
        if plan.tell:
            reason, message, kind = plan.tell
            world.events.note(item, _COMPONENT, reason, message, kind)
        for pod in plan.forget:
            await self._release(pod)
        if plan.create or plan.delete:
            await self._pods.change(item, plan.create, plan.delete)
        if plan.forget or plan.create or plan.delete:
            self.worker.add(key)
        return plan.again

    async def _release(self, pod: Object) -> None:
        held = self.world.caches["pods"].get(key_of(pod)) or pod
        rest = [name for name in held["metadata"].get("finalizers") or () if name != jobs.FINALIZER]
        try:
            await self.world.patch("pods", held, {"metadata": {"finalizers": rest or None}})
        except NotFound:
            return
