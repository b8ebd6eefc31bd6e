"""Carries out what ``garbage.py`` decides."""

from __future__ import annotations

from typing import Any

from clusters.client import NotFound
from clusters.controllers import garbage
from clusters.controllers.cache import Change, Key, key_of, owner_uids
from clusters.controllers.runtime import Worker
from clusters.controllers.world import KINDS, World, collection

Object = dict[str, Any]


class Garbage:
    """Deletes what lost its owner."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker("garbage", self._item)
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        item = change.any
        if change.new is None:
            for kind, cache in self.world.caches.items():
                for dependent in cache.owned_by(item["metadata"].get("uid", "")):
                    self.worker.add((kind, *key_of(dependent)))
        elif change.old is None and not all(map(self._held, owner_uids(item))):
            self.worker.add((plural, *key_of(item)))

    def _held(self, uid: str) -> bool:
        return any(cache.has(uid) for cache in self.world.caches.values())

    async def _item(self, key: tuple[str, str, str]) -> None:
        plural, place = key[0], (key[1], key[2])
        if self.world.caches[plural].get(place) is None:
            return
        try:  # as it is now: an owner that went without its dependents let go of them a moment ago
            item = await self.world.client.get(f"{collection(plural, place[0])}/{place[1]}")
        except NotFound:
            return
        plan = garbage.plan(item, await self._gone(item, place))
        if plan.delete:
            await self.world.delete(plural, item)
        elif plan.owners is not None:
            await self.world.patch(plural, item, {"metadata": {"ownerReferences": plan.owners}})

    async def _gone(self, item: Object, place: Key) -> set[str]:
        """The owners that exist no more, each asked for at the server before anything is deleted for it."""
        found = set()
        for ref in item["metadata"].get("ownerReferences") or ():
            plural = KINDS.get(ref.get("kind", ""))
            if plural is None or self._held(ref["uid"]):
                continue
            namespace = "" if plural == "nodes" else place[0]
            try:
                held = await self.world.client.get(f"{collection(plural, namespace)}/{ref['name']}")
                if held["metadata"].get("uid") == ref["uid"]:
                    continue
            except NotFound:
                pass
            found.add(ref["uid"])
        return found
