"""What the controllers know of the cluster, one cache a kind, and how they change it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from clusters.client import ApiError, Client, NotFound
from clusters.controllers.cache import Cache, Change
from clusters.controllers.events import Recorder
from clusters.controllers.runtime import say

Object = dict[str, Any]
Listener = Callable[[str, Change], None]

_KINDS = (
    ("Pod", "/api/v1/pods"), ("Service", "/api/v1/services"), ("Node", "/api/v1/nodes"),
    ("Endpoints", "/api/v1/endpoints"), ("ReplicaSet", "/apis/apps/v1/replicasets"),
    ("Deployment", "/apis/apps/v1/deployments"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
)
# Read after the others, all together: a new cluster serves without them, and each costs it milliseconds.
_LATER = (
    ("ReplicationController", "/api/v1/replicationcontrollers"), ("DaemonSet", "/apis/apps/v1/daemonsets"),
    ("StatefulSet", "/apis/apps/v1/statefulsets"), ("Job", "/apis/batch/v1/jobs"),
    ("ControllerRevision", "/apis/apps/v1/controllerrevisions"), ("CronJob", "/apis/batch/v1/cronjobs"),
    ("HorizontalPodAutoscaler", "/apis/autoscaling/v2/horizontalpodautoscalers"),
    ("PodDisruptionBudget", "/apis/policy/v1/poddisruptionbudgets"),
)
ROOTS = {path.rpartition("/")[2]: path.rpartition("/")[0] for _, path in _KINDS + _LATER}
KINDS = {kind: path.rpartition("/")[2] for kind, path in _KINDS + _LATER}
_PHASES = tuple(frozenset(KINDS[kind] for kind, _ in kinds) for kinds in (_KINDS, _LATER))
_REFUSED_WAIT = 2.0  # seconds before a watch that was refused (not cut) is asked for again


def path_of(plural: str, item: Object) -> str:
    """The path of one stored object."""
    meta = item["metadata"]
    return f"{collection(plural, meta.get('namespace') or '')}/{meta['name']}"


def collection(plural: str, namespace: str = "") -> str:
    """The path of a collection, of one namespace or of all."""
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{ROOTS[plural]}{middle}/{plural}"


def difference(old: Object, new: Object) -> Object:
    """The merge patch (RFC 7386) that makes ``new`` of ``old``; what is alike is sent all the same."""
    gone: Object = {name: None for name in old if name not in new}
    return gone | {
        name: difference(old[name], value) if isinstance(value, dict) and isinstance(old.get(name), dict)
        else value for name, value in new.items()}


class World:
    """The caches, and the writes, which go through them: no decision overlooks what we changed ourselves."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.caches = {plural: Cache() for plural in ROOTS}
        self.events = Recorder(client)
        self._read: set[str] = set()  # the kinds whose changes are told
        self._turn = asyncio.Event()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener(plural, change)`` for every change of the kinds that have all been read."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Keep all caches up to date, and write the events, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.events.run())
            for phase in _PHASES:
                for plural in phase:
                    group.create_task(self._watch(plural))
                while not phase <= self._read:
                    await self._turn.wait()
                    self._turn.clear()

    async def _watch(self, plural: str) -> None:
        cache = self.caches[plural]
        while True:
            try:
                async for kind, value in self.client.watch(collection(plural), trouble=say):
                    self._tell(plural, cache.event(kind, value))
                    if plural not in self._read:
                        self._note_read(plural)
            except ApiError as error:
                say(f"watch of {plural} refused ({error.status}): {error.message}; trying again")
            await asyncio.sleep(_REFUSED_WAIT)

    async def create(self, plural: str, item: Object) -> Object:
        """Create an object."""
        made = await self.client.create(collection(plural, item["metadata"].get("namespace") or ""), item)
        return self.learn(plural, made)

    async def there(self, plural: str, item: Object) -> bool:
        """Whether the API server still has this very object; a cache may hear late that it is gone."""
        try:
            found = await self.client.get(path_of(plural, item))
        except NotFound:
            return False
        return bool(found["metadata"]["uid"] == item["metadata"]["uid"])

    async def update(self, plural: str, item: Object) -> Object:
        """Replace an object; Conflict when somebody wrote it since it was read."""
        return self.learn(plural, await self.client.update(path_of(plural, item), item))

    async def patch(self, plural: str, item: Object, body: Object) -> Object:
        """Merge-patch an object, only as it was read: Conflict when somebody wrote it since."""
        meta = {"resourceVersion": item["metadata"].get("resourceVersion"), **body.get("metadata", {})}
        return self.learn(plural, await self.client.patch(path_of(plural, item), body | {"metadata": meta}))

    async def set_status(self, plural: str, item: Object, status: Object) -> Object:
        """Make the object's status exactly ``status``."""
        patch = difference(item.get("status") or {}, status)
        answer = await self.client.patch_status(path_of(plural, item), {"status": patch})
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
        if plural in self._read:
            for change in changes:
                for listener in self._listeners:
                    listener(plural, change)

    def _note_read(self, plural: str) -> None:
        """Once all kinds read with this one are there, tell what they hold."""
        phase = next(phase for phase in _PHASES if plural in phase)
        if not all(self.caches[each].synced for each in phase):
            return
        self._read |= phase
        self._turn.set()
        for each in sorted(phase):
            self._tell(each, [Change(None, item) for item in self.caches[each]])
