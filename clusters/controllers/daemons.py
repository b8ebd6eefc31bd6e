"""Carries out what ``daemonsets.py`` decides."""

from __future__ import annotations

import time
from typing import Any

from clusters.controllers import daemonsets, history, revisions
from clusters.controllers.cache import Change, Key, key_of
from clusters.controllers.podcontrol import PodControl
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World

Object = dict[str, Any]
_COMPONENT = "daemonset-controller"


class DaemonSets:
    """Keeps one pod of every DaemonSet on every node it is for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("DaemonSet", self._set)
        self._pods = PodControl(world, self.worker, "DaemonSet", _COMPONENT)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == "nodes" and _face(change.old) != _face(change.new):
            for item in self.world.caches["daemonsets"]:
                self.worker.add(key_of(item))

    async def _set(self, key: Key) -> float | None:
        world, item = self.world, self.world.caches["daemonsets"].get(key)
        if item is None:
            return None
        pods = await self._pods.claimed(item)
        marks = {pod["metadata"]["labels"].get(history.HASH_LABEL) for pod in pods}
        found = await revisions.kept(world, self._pods, item, marks)
        if found is None:
            return None
        nodes = sorted(world.caches["nodes"], key=lambda node: str(node["metadata"]["name"]))
        plan = daemonsets.plan(item, pods, nodes, history.mark_of(item, found[0]), time.time())
        for reason, message, kind in plan.tell:
            world.events.note(item, _COMPONENT, reason, message, kind)
        if plan.create or plan.delete:
            await self._pods.change(item, plan.create, plan.delete)
            self.worker.add(key)  # the status is counted afterwards, once
        elif plan.status is not None:
            await world.set_status("daemonsets", item, plan.status)
        return plan.again


def _face(node: Object | None) -> Any:
    """What of a node decides which daemons run there."""
    if node is None:
        return None
    ready = [c.get("status") for c in (node.get("status") or {}).get("conditions") or ()
             if c.get("type") == "Ready"]
    spec = node.get("spec") or {}
    return node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable"), ready
