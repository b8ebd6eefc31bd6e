"""Carries out what ``endpointslices.py`` and ``endpoints.py`` decide."""

from __future__ import annotations

from typing import Any

from clusters.client import AlreadyExists
from clusters.controllers import endpoints, endpointslices
from clusters.controllers.cache import Change, Key, key_of
from clusters.controllers.pods import condition, is_finished, is_terminating
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World, path_of

Object = dict[str, Any]

_ZONE = "topology.kubernetes.io/zone"


class Services:
    """Keeps EndpointSlices and Endpoints of every Service with a selector."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("EndpointSlices of Service", self._service)
        self._seen: dict[Key, dict[str, str]] = {}
        self._triggers: dict[Key, str] = {}  # of changes not yet written
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural in ("services", "endpoints"):
            self.worker.add(key_of(change.any))
        elif plural == "endpointslices":
            meta = change.any["metadata"]
            labels = meta.get("labels") or {}
            name = labels.get(endpointslices.SERVICE_LABEL)
            if name and labels.get(endpointslices.MANAGED_LABEL) == endpointslices.MANAGER:
                self.worker.add((meta["namespace"], name))
        elif plural == "pods":
            self._pod_changed(change)
        elif plural == "nodes" and _zone(change.old) != _zone(change.new):
            for service in self.world.caches["services"]:
                if endpointslices.is_managed(service):
                    self.worker.add(key_of(service))

    def _pod_changed(self, change: Change) -> None:
        if _face(change.old) == _face(change.new):
            return
        for service in self.world.caches["services"].space(change.any["metadata"]["namespace"]):
            if any(pod and endpointslices.selects(service, pod["metadata"].get("labels"))
                   for pod in (change.old, change.new)):
                self.worker.add(key_of(service))

    async def _service(self, key: Key) -> None:
        caches = self.world.caches
        service, legacy = caches["services"].get(key), caches["endpoints"].get(key)
        if service is None:
            self._seen.pop(key, None)
            self._triggers.pop(key, None)
            labels = (legacy or {"metadata": {}})["metadata"].get("labels") or {}
            if legacy and labels.get(endpoints.MANAGED_LABEL) == endpoints.MANAGER:
                await self.world.delete("endpoints", legacy)
            return
        if not endpointslices.is_managed(service) or is_terminating(service):
            return
        pods = [pod for pod in caches["pods"].space(key[0])
                if endpointslices.selects(service, pod["metadata"].get("labels"))]
        nodes = {node["metadata"]["name"]: node for node in caches["nodes"]}
        await self._slices(key, service, pods, nodes)
        wanted = endpoints.endpoints_for(service, pods, nodes)
        if endpoints.needs_write(legacy, wanted):
            await self._legacy(legacy, wanted)

    async def _slices(self, key: Key, service: Object, pods: list[Object], nodes: dict[str, Object]) -> None:
        world = self.world
        mine = [held for held in world.caches["endpointslices"].owned_by(service["metadata"]["uid"])
                if held["metadata"]["labels"].get(endpointslices.MANAGED_LABEL) == endpointslices.MANAGER]
        self._note_trigger(key, service, pods)
        changes = endpointslices.reconcile(service, pods, nodes, mine, self._triggers.get(key))
        for item in changes.create:
            await world.create("endpointslices", item)
        for item in changes.update:
            await world.update("endpointslices", item)
        for item in changes.delete:
            await world.delete("endpointslices", item)
        self._triggers.pop(key, None)

    def _note_trigger(self, key: Key, service: Object, pods: list[Object]) -> None:
        """Remember the earliest change until it is written, over conflicts and retries."""
        fresh = endpointslices.trigger_time(service, pods, self._seen.setdefault(key, {}))
        if fresh:
            self._triggers[key] = min(fresh, self._triggers.get(key, fresh))

    async def _legacy(self, held: Object | None, wanted: Object) -> None:
        if held is None:
            try:
                await self.world.create("endpoints", wanted)
            except AlreadyExists:  # made since: taken in, and made right on the next round
                self.world.learn("endpoints", await self.world.client.get(path_of("endpoints", wanted)))
            return
        meta = held["metadata"] | wanted["metadata"]
        await self.world.update("endpoints", wanted | {"metadata": meta})


def _face(pod: Object | None) -> Any:
    """What of a pod can change an endpoint."""
    if pod is None:
        return None
    spec, status, meta = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    return (
        meta.get("uid"), meta.get("labels"), is_terminating(pod), is_finished(pod), condition(pod, "Ready"),
        status.get("podIP"), status.get("podIPs"), spec.get("nodeName"), spec.get("hostname"),
    )


def _zone(node: Object | None) -> Any:
    return None if node is None else (True, (node["metadata"].get("labels") or {}).get(_ZONE))
