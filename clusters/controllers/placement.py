"""Carries out what ``scheduler.py`` and ``nodes.py`` decide."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from clusters.client import ApiError, NotFound
from clusters.controllers import nodes, scheduler
from clusters.controllers.cache import Change
from clusters.controllers.pods import condition, is_active, is_ready, is_true, seconds_of, stamp_of
from clusters.controllers.runtime import Worker, say
from clusters.controllers.world import World, path_of

Object = dict[str, Any]
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_SCHEDULER = "default-scheduler"
_REFUSED_WAIT = 2.0  # seconds before a refused watch is asked for again


class Scheduler:
    """Binds pods that have no node."""

    def __init__(self, world: World, *, seed: bool) -> None:
        self.world, self.seed = world, seed
        self.worker = Worker("scheduler", self._place)
        self._assumed: dict[str, str] = {}  # pod uid → node, until the pod's own event says so
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        freed = change.new is None or not is_active(change.new)
        if plural == "nodes" or (plural == "pods" and (freed or scheduler.is_waiting(change.any))):
            self.worker.add("pods")

    async def _place(self, _: str) -> None:
        everything = list(self.world.caches["pods"])
        placed = {pod["metadata"]["uid"] for pod in everything if (pod.get("spec") or {}).get("nodeName")}
        living = {pod["metadata"]["uid"] for pod in everything}
        self._assumed = {uid: node for uid, node in self._assumed.items() if uid in living - placed}
        pods = {pod["metadata"]["uid"]: self._as_assumed(pod) for pod in everything}
        order = sorted(self.world.caches["nodes"], key=lambda node: str(node["metadata"]["name"]))
        waiting = [pod for pod in pods.values() if scheduler.is_waiting(pod)]
        waiting.sort(key=lambda pod: (seconds_of(pod["metadata"].get("creationTimestamp")),
                                      int(pod["metadata"].get("resourceVersion") or 0)))
        work = []
        for pod in waiting:
            found = scheduler.choose(pod, order, list(pods.values()), seed=self.seed)
            if found.node:
                uid = pod["metadata"]["uid"]
                self._assumed[uid] = found.node
                pods[uid] = self._as_assumed(pod)
                work.append(self._bind(pod, found.node))
            elif (condition(pod, "PodScheduled") or {}).get("message") != found.message:
                work.append(self._refuse(pod, found.message))
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _as_assumed(self, pod: Object) -> Object:
        node = self._assumed.get(pod["metadata"]["uid"])
        return pod if node is None else pod | {"spec": pod["spec"] | {"nodeName": node}}

    async def _bind(self, pod: Object, node: str) -> None:
        meta = pod["metadata"]
        binding = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self.world.client.create(f"{path_of('pods', pod)}/binding", binding)
        except ApiError as error:
            self._assumed.pop(meta["uid"], None)
            if not isinstance(error, NotFound):  # a pod deleted meanwhile needs no node
                raise
            return
        self.world.events.note(pod, _SCHEDULER, "Scheduled", "Successfully assigned "
                               f"{meta['namespace']}/{meta['name']} to {node}")

    async def _refuse(self, pod: Object, message: str) -> None:
        status = dict(pod.get("status") or {})
        rest = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
        status["conditions"] = [*rest, {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastTransitionTime": stamp_of(time.time()),
        }]
        await self.world.set_status("pods", pod, status)
        self.world.events.warn(pod, _SCHEDULER, "FailedScheduling", message)


class Nodes:
    """Marks nodes without heartbeat, takes readiness from pods of nodes that are not ready, and removes pods
    of nodes that are no more. ``grace``: seconds a heartbeat may stay away.
    """

    def __init__(self, world: World, *, grace: float) -> None:
        self.world = world
        self._grace = grace
        self._heard: dict[str, float] = {}  # node -> when its Lease last changed, on our own clock
        self.worker = Worker("node", self._node)
        self._gone: set[str] = set()
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == "nodes":
            name = change.any["metadata"]["name"]
            if change.old is None:
                words = f"Node {name} event: Registered Node {name} in Controller"
                self.world.events.note(change.any, "node-controller", "RegisteredNode", words)
            (self._gone.add if change.new is None else self._gone.discard)(name)
            self.worker.add(name)
        elif plural == "pods" and change.new and is_ready(change.new):
            name = (change.new.get("spec") or {}).get("nodeName", "")
            node = self.world.caches["nodes"].get(("", name))
            if node and not is_true(node, "Ready"):
                self.worker.add(name)

    async def listen(self) -> None:
        """Hear the heartbeats, for ever."""
        while True:
            try:
                async for kind, what in self.world.client.watch(_LEASES, trouble=say):
                    for lease in what if kind == "SYNC" else [what]:
                        name = lease["metadata"]["name"]
                        if kind == "DELETED":
                            self._heard.pop(name, None)
                        else:
                            self._heard[name] = time.monotonic()
                            self.worker.add(name)
            except ApiError as error:
                say(f"watch of node leases refused ({error.status}): {error.message}; trying again")
            await asyncio.sleep(_REFUSED_WAIT)

    async def _node(self, name: str) -> float | None:
        node = self.world.caches["nodes"].get(("", name))
        left: float | None = None
        if node is not None and name in self._heard:
            left = self._heard[name] + self._grace - time.monotonic()
            status = nodes.silent_status(node, time.time()) if left <= 0 else None
            if status is not None:
                node = await self.world.set_status("nodes", node, status)
        await self._pods(name, node)
        return left if left is not None and left > 0 else None

    async def _pods(self, name: str, node: Object | None) -> None:
        pods = list(self.world.caches["pods"])
        if node is not None:
            found = nodes.pods_to_unready(node, pods)
            if found:  # the node may be Ready again, and its pods have said so first
                try:
                    node = await self.world.client.get(path_of("nodes", node))
                except NotFound:
                    return
                found = nodes.pods_to_unready(node, found)
            for pod in found:
                status = (pod.get("status") or {}) | nodes.unready_status(pod, time.time())["status"]
                await self.world.set_status("pods", pod, status)
        elif name in self._gone:
            for pod in nodes.pods_without_node(name, pods):
                await self.world.delete("pods", pod, grace=0)
