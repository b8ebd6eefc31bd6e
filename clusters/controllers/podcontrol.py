"""What all controllers of pods share: whose pod changed, taking in and letting go, making and removing."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

from clusters.client import ApiError, NotFound
from clusters.controllers.cache import Change, controller_of, key_of
from clusters.controllers.claims import claim, owner_reference, owners_after, selector_of
from clusters.controllers.pods import matches
from clusters.controllers.runtime import Worker
from clusters.controllers.world import KINDS, World

Object = dict[str, Any]

AT_ONCE = 200  # pods made or removed in one round: a mistake in a manifest must not flood the server


def pod_from(owner: Object, template: Object, **metadata: Any) -> Object:
    """A pod from a template, named after its owner; ``metadata`` is added to what the template gives."""
    meta, template = owner["metadata"], copy.deepcopy(template)
    given = template.get("metadata") or {}
    kept = {name: given[name] for name in ("labels", "annotations", "finalizers") if given.get(name)}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": f"{meta['name']}-", "namespace": meta["namespace"], **kept,
            "ownerReferences": [owner_reference(owner)], **metadata,
        },
        "spec": template.get("spec") or {},
    }


class PodControl:
    """The pods of one kind of owner. ``component`` is how its events name the controller."""

    def __init__(self, world: World, worker: Worker, kind: str, component: str) -> None:
        self.world, self.kind, self.component = world, kind, component
        self._plural, self._worker = KINDS[kind], worker
        world.listen(self._changed)

    def _changed(self, plural: str, change: Change) -> None:
        if plural == self._plural:
            self._worker.add(key_of(change.any))
        elif plural == "pods":
            self._pod_changed(change)

    def _pod_changed(self, change: Change) -> None:
        namespace, owned = change.any["metadata"]["namespace"], False
        for pod in (change.old, change.new):
            ref = controller_of(pod) if pod else None
            owned = ref is not None
            if ref and ref.get("kind") == self.kind:
                self._worker.add((namespace, ref["name"]))
        labels = change.any["metadata"].get("labels")
        if change.new is not None and not owned and labels:
            for owner in self.world.caches[self._plural].space(namespace):
                if matches(selector_of(owner), labels):
                    self._worker.add(key_of(owner))

    async def claimed(self, owner: Object, plural: str = "pods") -> list[Object]:
        """All objects of a kind that the owner controls, after taking in strays and letting others go."""
        found = claim(owner, self.world.caches[plural].space(owner["metadata"]["namespace"]))
        if found.adopt:  # they may be orphaned on purpose by a deletion (upstream's canAdopt asks, too)
            await self.ensure(owner)
        for item in found.adopt + found.release:
            references = owners_after(item, owner, adopted=item in found.adopt)
            await self.world.patch(plural, item, {"metadata": {"ownerReferences": references or None}})
        if not found.adopt:
            return found.mine
        held = (self.world.caches[plural].get(key_of(item)) for item in found.mine)
        return [item for item in held if item is not None]

    async def ensure(self, owner: Object) -> None:
        """NotFound when the owner is gone: the end of its pods, which went with it, may be heard first."""
        if not await self.world.there(self._plural, owner):
            raise NotFound(404, "NotFound", f"{self.kind} {owner['metadata']['name']} is gone")

    async def change(self, owner: Object, make: Sequence[Object], drop: Sequence[Object]) -> None:
        """Make and remove pods, all at once. ApiError: the first refusal, after all have been tried; NotFound
        before anything is tried for an owner that is gone."""
        if make:
            await self.ensure(owner)
        work = [self.make(owner, pod) for pod in make[:AT_ONCE]]
        work += [self.drop(owner, pod) for pod in drop[:AT_ONCE]]
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def make(self, owner: Object, pod: Object) -> None:
        """Make one pod, and tell of it."""
        try:
            made = await self.world.create("pods", pod)
        except ApiError as error:
            if error.status not in (0, 404) and "is being terminated" not in error.message:
                self.world.events.warn(owner, self.component, "FailedCreate", f"Error creating: {error}")
            raise
        self.world.events.note(
            owner, self.component, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")

    async def drop(self, owner: Object, pod: Object) -> None:
        """Remove one pod, and tell of it."""
        try:
            await self.world.delete("pods", pod)
        except NotFound:
            return
        self.world.events.note(
            owner, self.component, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
