"""Carries out what ``deployments.py`` decides."""

from __future__ import annotations

import time
from typing import Any

from clusters.client import AlreadyExists, ApiError, NotFound
from clusters.controllers import deployments
from clusters.controllers.cache import Change, Key, controller_of, key_of
from clusters.controllers.deployment_status import size
from clusters.controllers.podcontrol import PodControl
from clusters.controllers.pods import is_finished, matches
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World, path_of

Object = dict[str, Any]
_COMPONENT = "deployment-controller"


class Deployments:
    """Deployments make ReplicaSets, and move replicas from one to the next."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("Deployment", self._deployment)
        self._sets = PodControl(world, self.worker, "Deployment", _COMPONENT)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        item = change.any
        if plural == "replicasets":
            self._owner(item)
        elif plural == "pods" and change.new is None:  # Recreate waits for the last old pod
            ref = controller_of(item) or {}
            found = self.world.caches["replicasets"].get((item["metadata"]["namespace"], ref.get("name", "")))
            if ref.get("kind") == "ReplicaSet" and found:
                self._owner(found)

    def _owner(self, rs: Object) -> None:
        namespace, ref = rs["metadata"]["namespace"], controller_of(rs)
        if ref is None:
            for item in self.world.caches["deployments"].space(namespace):
                if matches(item["spec"].get("selector"), rs["metadata"].get("labels")):
                    self.worker.add(key_of(item))
        elif ref.get("kind") == "Deployment":
            self.worker.add((namespace, ref["name"]))

    async def _deployment(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches["deployments"].get(key)
        if item is None:
            return None
        sets = await self._sets.claimed(item, "replicasets")
        plan = deployments.plan(item, sets, self._old_pods(item, sets), time.time())
        if plan.create:
            await self._create(item, plan.create)
        for rs, replicas in plan.scale:
            await world.patch("replicasets", rs, {"spec": {"replicas": replicas}})
            word, name = "up" if replicas > size(rs) else "down", rs["metadata"]["name"]
            self._say(item, f"Scaled {word} replica set {name} from {size(rs)} to {replicas}")
        for rs, body in plan.amend:
            held = world.caches["replicasets"].get(key_of(rs)) or rs
            await world.patch("replicasets", held, body)
        for rs in plan.delete:
            await world.delete("replicasets", rs)
        if plan.revision:
            note = {deployments.REVISION: plan.revision}
            item = await world.patch("deployments", item, {"metadata": {"annotations": note}})
        if plan.status is not None:
            await world.set_status("deployments", item, plan.status)
        return plan.again

    def _say(self, item: Object, message: str) -> None:
        self.world.events.note(item, _COMPONENT, "ScalingReplicaSet", message)

    def _old_pods(self, item: Object, mine: list[Object]) -> int:
        new = deployments.current(item, deployments.in_order(mine))
        pods = self.world.caches["pods"]
        return sum(not is_finished(pod) for rs in mine if rs is not new
                   for pod in pods.owned_by(rs["metadata"]["uid"]))

    async def _create(self, item: Object, wanted: Object) -> None:
        """Make the ReplicaSet; a stranger with its name is avoided by counting one collision more.

        None is made for a Deployment that is gone (NotFound).
        """
        await self._sets.ensure(item)
        try:
            made = await self.world.create("replicasets", wanted)
        except AlreadyExists:
            await self._taken(item, wanted)
            return
        except ApiError as error:
            if error.status in (403, 422):
                name = wanted["metadata"]["name"]
                self.world.events.warn(item, _COMPONENT, "ReplicaSetCreateError",
                                       f'Failed to create new replica set "{name}": {error.message}')
            raise
        if size(made):
            self._say(item, f"Scaled up replica set {made['metadata']['name']} from 0 to {size(made)}")

    async def _taken(self, item: Object, wanted: Object) -> None:
        try:
            held = await self.world.client.get(path_of("replicasets", wanted))
        except NotFound:  # just removed: the next try finds the name free
            self.worker.add(key_of(item))
            return
        if (controller_of(held) or {}).get("uid") == item["metadata"]["uid"]:
            self.world.learn("replicasets", held)
            return
        status = dict(item.get("status") or {})
        status["collisionCount"] = status.get("collisionCount", 0) + 1
        await self.world.set_status("deployments", item, status)
