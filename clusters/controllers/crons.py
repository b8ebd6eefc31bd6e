"""Carries out what ``cronjobs.py`` decides."""

from __future__ import annotations

import time
from typing import Any

from clusters.client import AlreadyExists, ApiError
from clusters.controllers import cronjobs
from clusters.controllers.cache import Change, Key, controller_of, key_of
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World, path_of

Object = dict[str, Any]
_COMPONENT = "cronjob-controller"


class CronJobs:
    """Makes the Jobs that are due."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("CronJob", self._cron)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == "cronjobs":
            self.worker.add(key_of(change.any))
        elif plural == "jobs":
            ref = controller_of(change.any) or {}
            if ref.get("kind") == "CronJob":
                self.worker.add((change.any["metadata"]["namespace"], ref["name"]))

    async def _cron(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches["cronjobs"].get(key)
        if item is None:
            return None
        mine = [job for job in world.caches["jobs"].owned_by(item["metadata"]["uid"])
                if (controller_of(job) or {}).get("uid") == item["metadata"]["uid"]]
        plan = cronjobs.plan(item, mine, time.time())
        for reason, message, kind in plan.tell:
            world.events.note(item, _COMPONENT, reason, message, kind)
        for job in [*plan.replace, *plan.delete]:
            await self._drop(item, job)
        status = plan.status
        if plan.create is not None:
            made = await self._make(item, plan.create)
            status = cronjobs.with_started(status, made, plan.due) if made else status
        if status != (item.get("status") or {}):
            await world.set_status("cronjobs", item, status)
        return plan.again

    async def _drop(self, owner: Object, job: Object) -> None:
        path, uid = path_of("jobs", job), job["metadata"]["uid"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        await self.world.client.request("DELETE", path, body)
        self._say(owner, "SuccessfulDelete", f"Deleted job {job['metadata']['name']}")

    async def _make(self, owner: Object, wanted: Object) -> Object | None:
        """Make the Job; the one of that time that was made before counts, a stranger's does not."""
        try:
            made = await self.world.create("jobs", wanted)
        except AlreadyExists:
            held = self.world.learn("jobs", await self.world.client.get(path_of("jobs", wanted)))
            own = (controller_of(held) or {}).get("uid") == owner["metadata"]["uid"]
            return held if own else None
        except ApiError as error:
            if error.status in (403, 422):
                self.world.events.warn(owner, _COMPONENT, "FailedCreate", f"Error creating job: {error}")
            raise
        self._say(owner, "SuccessfulCreate", f"Created job {made['metadata']['name']}")
        return made

    def _say(self, owner: Object, reason: str, message: str) -> None:
        self.world.events.note(owner, _COMPONENT, reason, message)
