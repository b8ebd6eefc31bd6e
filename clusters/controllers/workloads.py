"""Carries out what ``deployments.py`` and ``replicasets.py`` decide."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from clusters.client import AlreadyExists, NotFound
from clusters.controllers import deployments, replicasets
from clusters.controllers.cache import Change, Key, controller_of, key_of
from clusters.controllers.pods import is_finished, matches
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World, path_of

Object = dict[str, Any]

_AT_ONCE = 200  # pods made or removed in one round: a mistake in a manifest must not flood the server


class Workloads:
    """Deployments make ReplicaSets, ReplicaSets make Pods."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.deployments = Worker("Deployment", self._deployment)
        self.replicasets = Worker("ReplicaSet", self._replicaset)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == "deployments":
            self.deployments.add(key_of(change.any))
        elif plural == "replicasets":
            self.replicasets.add(key_of(change.any))
            self._owner(change.any)
        elif plural == "pods":
            self._pod_changed(change)

    def _owner(self, rs: Object) -> None:
        ref = controller_of(rs)
        if ref and ref.get("kind") == "Deployment":
            self.deployments.add((rs["metadata"]["namespace"], ref["name"]))

    def _pod_changed(self, change: Change) -> None:
        cache, namespace = self.world.caches["replicasets"], change.any["metadata"]["namespace"]
        for pod in (change.old, change.new):
            ref = controller_of(pod) if pod else None
            if ref and ref.get("kind") == "ReplicaSet":
                self.replicasets.add((namespace, ref["name"]))
                rs = cache.get((namespace, ref["name"]))
                if change.new is None and rs:  # Recreate waits for the last old pod
                    self._owner(rs)
        if change.new is not None and controller_of(change.new) is None:
            labels = change.new["metadata"].get("labels")
            for rs in cache.space(namespace) if labels else ():
                if matches(rs["spec"].get("selector"), labels):
                    self.replicasets.add(key_of(rs))

    async def _deployment(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches["deployments"].get(key)
        if item is None:
            return None
        sets = world.caches["replicasets"].space(key[0])
        plan = deployments.plan(item, sets, self._old_pods(item, sets), time.time())
        if plan.create:
            await self._create(item, plan.create)
        notes = {key_of(rs): note for rs, note in plan.annotate}
        for rs, replicas in plan.scale:
            note = notes.pop(key_of(rs), {})
            body: Object = {"spec": {"replicas": replicas}, "metadata": {"annotations": note}}
            await world.patch("replicasets", rs, body)
        for rs, note in plan.annotate:
            if key_of(rs) in notes:
                await world.patch("replicasets", rs, {"metadata": {"annotations": note}})
        for rs in plan.delete:
            await world.delete("replicasets", rs)
        if plan.revision:
            note = {deployments.REVISION: plan.revision}
            item = await world.patch("deployments", item, {"metadata": {"annotations": note}})
        if plan.status is not None:
            await world.set_status("deployments", item, plan.status)
        return plan.again

    def _old_pods(self, item: Object, sets: list[Object]) -> int:
        mine = deployments.owned(item, sets)
        new = deployments.current(item, mine)
        pods = self.world.caches["pods"]
        return sum(not is_finished(pod) for rs in mine if rs is not new
                   for pod in pods.owned_by(rs["metadata"]["uid"]))

    async def _create(self, item: Object, wanted: Object) -> None:
        """Make the ReplicaSet; a stranger with its name is avoided by counting one collision more."""
        try:
            await self.world.create("replicasets", wanted)
        except AlreadyExists:
            try:
                held = await self.world.client.get(path_of("replicasets", wanted))
            except NotFound:  # just removed: the next try finds the name free
                self.deployments.add(key_of(item))
                return
            if (controller_of(held) or {}).get("uid") == item["metadata"]["uid"]:
                self.world.learn("replicasets", held)
                return
            status = dict(item.get("status") or {})
            status["collisionCount"] = status.get("collisionCount", 0) + 1
            await self.world.set_status("deployments", item, status)

    async def _replicaset(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches["replicasets"].get(key)
        if item is None:
            return None
        plan = replicasets.plan(item, world.caches["pods"].space(key[0]), time.time())
        reference = replicasets.owner_reference(item)
        for pod in plan.adopt:
            owners = [*(pod["metadata"].get("ownerReferences") or ()), reference]
            await world.patch("pods", pod, {"metadata": {"ownerReferences": owners}})
        work = [world.create("pods", replicasets.pod_for(item)) for _ in range(min(plan.create, _AT_ONCE))]
        drop = [world.delete("pods", pod) for pod in plan.delete[:_AT_ONCE]]
        for result in await asyncio.gather(*work, *drop, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        if work or drop:
            self.replicasets.add(key)  # the status is counted afterwards, once
        elif plan.status is not None:
            await world.set_status("replicasets", item, plan.status)
        return plan.again
