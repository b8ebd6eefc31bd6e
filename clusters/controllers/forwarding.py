"""Carries out what ``servicelb.py`` decides."""

from __future__ import annotations

import time
from typing import Any

from clusters.controllers import servicelb
from clusters.controllers.cache import Change, Key, key_of
from clusters.controllers.pods import is_terminating
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World

Object = dict[str, Any]
_BETWEEN = 0.2  # seconds between two writes of one status: another load balancer may write it at once again


class ServiceLB:
    """Keeps the forwarding pods and the status of every LoadBalancer Service."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("ServiceLB of Service", self._service)
        self._wrote: dict[Key, float] = {}
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == "services":
            self.worker.add(key_of(change.any))
        elif plural == "pods" and (owner := servicelb.owner(change.any)):
            self.worker.add(owner)
        elif plural in ("nodes", "endpointslices"):
            for service in self.world.caches["services"]:
                if servicelb.wants(service):
                    self.worker.add(key_of(service))

    async def _service(self, key: Key) -> float | None:
        service = self.world.caches["services"].get(key)
        pods = [pod for pod in self.world.caches["pods"].space(servicelb.NAMESPACE)
                if servicelb.owner(pod) == key]
        if service is None or not servicelb.wants(service):
            self._wrote.pop(key, None)
            for pod in pods:
                if not is_terminating(pod):
                    await self.world.delete("pods", pod)
            return None
        nodes = sorted(self.world.caches["nodes"], key=lambda node: str(node["metadata"]["name"]))
        await self._pods(service, pods, {node["metadata"]["name"] for node in nodes})
        return await self._status(key, service, pods, nodes)

    async def _pods(self, service: Object, pods: list[Object], nodes: set[str]) -> None:
        """One forwarding pod on each node, and none that forwards to what is no longer wanted."""
        for pod in [pod for pod in pods if not is_terminating(pod)]:
            node = servicelb.node_of(pod)
            if node in nodes and servicelb.forwards(pod, service):
                nodes.discard(node)
            else:
                await self.world.delete("pods", pod)
        for node in sorted(nodes):
            await self.world.create("pods", servicelb.pod_for(service, node))

    async def _status(
        self, key: Key, service: Object, pods: list[Object], nodes: list[Object],
    ) -> float | None:
        """Make the status list our nodes; gives seconds to wait when it was written just now."""
        slices = self.world.caches["endpointslices"].owned_by(service["metadata"]["uid"])
        wanted = servicelb.addresses(service, pods, nodes, list(slices))
        status = dict(service.get("status") or {})
        held = (status.get("loadBalancer") or {}).get("ingress") or ()
        if [one.get("ip") for one in held] == wanted:
            return None
        left = self._wrote.get(key, 0.0) + _BETWEEN - time.monotonic()
        if left > 0:
            return left
        self._wrote[key] = time.monotonic()
        ingress = [{"ip": address} for address in wanted]
        status["loadBalancer"] = {"ingress": ingress or None}
        await self.world.set_status("services", service, status)
        return None
