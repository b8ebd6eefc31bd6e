"""Taints nodes by their condition, and removes the pods that do not bear a node's NoExecute taints."""

from __future__ import annotations

import time
from typing import Any

from clusters.controllers import nodes
from clusters.controllers.cache import Change, key_of
from clusters.controllers.pods import is_active, seconds_of
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World

Object = dict[str, Any]
_COMPONENT = "taint-eviction-controller"


class Taints:
    """Keeps the taints of nodes, and what follows from them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("taints of node", self._node)
        self._since: dict[tuple[str, str], float] = {}  # node, key → when a taint without a time was seen
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == "nodes":
            self.worker.add(change.any["metadata"]["name"])
        elif plural == "pods" and change.new is not None:
            name = (change.new.get("spec") or {}).get("nodeName") or ""
            node = self.world.caches["nodes"].get(("", name)) if name else None
            if node is not None and _evicting(node):
                self.worker.add(name)

    async def _node(self, name: str) -> float | None:
        node = self.world.caches["nodes"].get(("", name))
        if node is None:
            return None
        due = nodes.taints_due(node, time.time())
        if due is not None:
            node = await self.world.patch("nodes", node, {"spec": {"taints": due or None}})
        evicting = _evicting(node)
        now, waits = time.time(), []
        since = {}
        for taint in evicting:
            key = name, taint["key"]
            since[key] = seconds_of(taint.get("timeAdded")) or self._since.get(key, now)
        self._since = {key: at for key, at in self._since.items() if key[0] != name} | since
        pods = [pod for pod in self.world.caches["pods"] if pod["spec"].get("nodeName") == name] \
            if evicting else []
        for pod in pods:
            left = nodes.stays_until(pod, evicting)
            if left is None or not is_active(pod):
                continue
            ends = min(since.values()) + left if left else now
            if ends > now:
                waits.append(ends - now)
            else:
                await self._evict(pod)
        return min(waits, default=None)

    async def _evict(self, pod: Object) -> None:
        namespace, name = key_of(pod)
        words = f"Marking for deletion Pod {namespace}/{name}"
        self.world.events.note(pod, _COMPONENT, "TaintManagerEviction", words)
        await self.world.delete("pods", pod)


def _evicting(node: Object) -> list[Object]:
    return [t for t in (node.get("spec") or {}).get("taints") or () if t.get("effect") == "NoExecute"]
