"""What the controllers know of the cluster, one cache a kind, and how they change it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from clusters.client import ApiError, Client, NotFound
from clusters.controllers.cache import Cache, Change
from clusters.controllers.runtime import say

Object = dict[str, Any]
Listener = Callable[[str, Change], None]

ROOTS = {
    "pods": "/api/v1", "services": "/api/v1", "nodes": "/api/v1", "endpoints": "/api/v1",
    "replicasets": "/apis/apps/v1", "deployments": "/apis/apps/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
}
KINDS = {
    "Pod": "pods", "Service": "services", "Node": "nodes", "Endpoints": "endpoints",
    "ReplicaSet": "replicasets", "Deployment": "deployments", "EndpointSlice": "endpointslices",
}
_REFUSED_WAIT = 2.0  # seconds before a watch that was refused (not cut) is asked for again


def path_of(plural: str, item: Object) -> str:
    """The path of one stored object."""
    meta = item["metadata"]
    return f"{collection(plural, meta.get('namespace') or '')}/{meta['name']}"


def collection(plural: str, namespace: str = "") -> str:
    """The path of a collection, of one namespace or of all."""
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{ROOTS[plural]}{middle}/{plural}"


class World:
    """The caches, and the writes, which go through them: no decision overlooks what we changed ourselves."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.caches = {plural: Cache() for plural in ROOTS}
        self.synced = asyncio.Event()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener(plural, change)`` for every change, once all kinds have been read."""
        self._listeners.append(listener)

    async def watch(self, plural: str) -> None:
        """Keep one cache up to date, for ever."""
        cache = self.caches[plural]
        while True:
            try:
                async for kind, value in self.client.watch(collection(plural), trouble=say):
                    self._tell(plural, cache.event(kind, value))
                    if not self.synced.is_set() and all(c.synced for c in self.caches.values()):
                        self._all_read()
            except ApiError as error:
                say(f"watch of {plural} refused ({error.status}): {error.message}; trying again")
            await asyncio.sleep(_REFUSED_WAIT)

    async def create(self, plural: str, item: Object) -> Object:
        """Create an object."""
        made = await self.client.create(collection(plural, item["metadata"].get("namespace") or ""), item)
        return self.learn(plural, made)

    async def update(self, plural: str, item: Object) -> Object:
        """Replace an object; Conflict when somebody wrote it since it was read."""
        return self.learn(plural, await self.client.update(path_of(plural, item), item))

    async def patch(self, plural: str, item: Object, body: Object) -> Object:
        """Merge-patch an object, only as it was read: Conflict when somebody wrote it since."""
        meta = {"resourceVersion": item["metadata"].get("resourceVersion"), **body.get("metadata", {})}
        return self.learn(plural, await self.client.patch(path_of(plural, item), body | {"metadata": meta}))

    async def set_status(self, plural: str, item: Object, status: Object) -> Object:
        """Make the object's status exactly ``status``."""
        gone = {name: None for name in item.get("status") or {} if name not in status}
        answer = await self.client.patch_status(path_of(plural, item), {"status": gone | status})
        return self.learn(plural, answer)

    async def delete(self, plural: str, item: Object, *, grace: int | None = None) -> None:
        """Delete this very object (by uid); one that is gone already is no error."""
        try:
            uid = item["metadata"].get("uid")
            answer = await self.client.delete(path_of(plural, item), grace=grace, uid=uid)
        except NotFound:
            answer = {"kind": "Status"}
        meta = answer.get("metadata") or {}
        if answer.get("kind") != "Status" and (
                meta.get("deletionGracePeriodSeconds") or meta.get("finalizers")):
            self.learn(plural, answer)
        else:
            self._tell(plural, self.caches[plural].deleted(item))

    def learn(self, plural: str, item: Object) -> Object:
        """Take in an object the server answered."""
        change = self.caches[plural].write(item)
        self._tell(plural, [change] if change else [])
        return item

    def _tell(self, plural: str, changes: list[Change]) -> None:
        if self.synced.is_set():
            for change in changes:
                for listener in self._listeners:
                    listener(plural, change)

    def _all_read(self) -> None:
        self.synced.set()
        for plural, cache in self.caches.items():
            self._tell(plural, [Change(None, item) for item in cache])
