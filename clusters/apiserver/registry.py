"""The operations on objects: create, update, patch, delete, with every rule between request and store. Pure.

No input or output: the clock and the random numbers are handed in. Each operation happens whole or, by
``Refused``, not at all.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

from clusters.apiserver import admission, managers
from clusters.apiserver.apply import applied, check_wish
from clusters.apiserver.builtin import RESOURCES, builtin
from clusters.apiserver.deletion import DeleteOptions, Deleter
from clusters.apiserver.followers import Followers
from clusters.apiserver.managers import Writer
from clusters.apiserver.patch import JSON_PATCH, MERGE, STRATEGIC, patched
from clusters.apiserver.resources import Resource
from clusters.apiserver.service_allocation import Allocator
from clusters.apiserver.settling import (
    check_identity,
    check_namespace,
    fields_of,
    is_released,
    settle_name,
    settle_namespace,
    thaw,
    timestamp,
)
from clusters.apiserver.shapes import shaped
from clusters.apiserver.status import (
    Refused,
    already_exists,
    bad_request,
    invalid_object,
    not_found,
    unsupported_media,
)
from clusters.apiserver.store import Entry, Key, Object, Store, encode_body

_ENDPOINTS = builtin("", "v1", "endpoints")


class Registry:
    """The objects of one cluster and the rules they live by. ``now`` gives seconds since 1970."""

    def __init__(
        self,
        store: Store,
        allocator: Allocator,
        now: Callable[[], float],
        rng: random.Random | None = None,
        root_ca: str = "",
    ) -> None:
        self.store, self.allocator, self._now = store, allocator, now
        self._rng = rng or random.Random()
        self._followers = Followers(self, root_ca)
        self._deleter = Deleter(store, self._forget, lambda: timestamp(now()))

    def adopt(self) -> None:
        """Learns what follows from the objects of an earlier life: who owns what, whose number is taken."""
        for resource in self.store.kinds.holders():
            for key, entry in self.store.select(resource):
                self._deleter.adopt(resource, key, entry.object)
                if resource.core_kind == "Service":
                    self.allocator.adopt(entry.object["spec"])
                self._followers.adopt(resource, key, entry.object)

    def now(self) -> float:
        """The time as this cluster has it, in seconds since 1970."""
        return self._now()

    def get(self, resource: Resource, key: Key) -> Entry:
        """The object. Refused 404."""
        entry = self.store.get(resource, key)
        if entry is None:
            raise not_found(resource, key[1])
        return entry

    def create(
        self,
        resource: Resource,
        namespace: str,
        value: Any,
        dry_run: bool = False,
        writer: Writer | None = None,
    ) -> Entry:
        """Makes an object from decoded JSON. Refused: 400, 403, 404, 409, 422."""
        obj, _ = shaped(resource, value)
        metadata = obj["metadata"]
        settle_namespace(resource, namespace, metadata)
        if metadata.get("resourceVersion"):
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")
        check_namespace(self.store, resource, namespace, metadata.get("name", ""))
        settle_name(self.store, resource, namespace, metadata, self._rng)
        admission.set_defaults(resource, obj)
        metadata["uid"] = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        metadata["creationTimestamp"] = timestamp(self._now())
        key = (namespace, metadata.get("name", ""))
        deal = None
        if resource.core_kind == "Service":
            deal = self.allocator.create("/".join(key), obj["spec"], dry_run)
        try:
            admission.prepare_create(resource, obj)
            if wrong := admission.create_errors(resource, obj):
                raise invalid_object(resource, key[1], wrong)
            if self.store.get(resource, key) is not None:
                raise already_exists(resource, key[1])
        except Refused:
            if deal:
                deal.revert()
            raise
        if deal:
            deal.commit()
        managers.note_creator(resource, obj, value, writer, timestamp(self._now()))
        return self._write(resource, key, obj, dry_run)

    def update(
        self,
        resource: Resource,
        key: Key,
        value: Any,
        subresource: str = "",
        dry_run: bool = False,
        writer: Writer | None = None,
    ) -> tuple[Entry, bool]:
        """Replaces an object, or its status; gives it and whether it was created. Refused: 400, 404, 409,
        422.
        """
        new, _ = shaped(resource, value)
        metadata = new["metadata"]
        if metadata.get("name", key[1]) != key[1]:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({key[1]})"
            )
        metadata["name"] = key[1]
        settle_namespace(resource, key[0], metadata)
        entry = self.store.get(resource, key)
        if entry is None:
            if resource.create_on_update and not subresource and not metadata.get("uid"):
                metadata.pop("resourceVersion", None)
                return self.create(resource, key[0], value | {"metadata": metadata}, dry_run, writer), True
            raise not_found(resource, key[1])
        check_identity(resource, key, metadata, entry)
        return self._replace(resource, key, new, entry, subresource, dry_run, writer), False

    def _replace(
        self,
        resource: Resource,
        key: Key,
        new: Object,
        entry: Entry,
        subresource: str,
        dry_run: bool,
        writer: Writer | None,
    ) -> Entry:
        old, wished = entry.object, new["metadata"].get("managedFields")
        deal = None
        if subresource == "status":
            new = admission.prepare_status_update(resource, new, old)
            admission.set_defaults(resource, new)
        else:
            admission.set_defaults(resource, new)
            if resource.core_kind == "Service":
                deal = self.allocator.update("/".join(key), new["spec"], old["spec"], dry_run)
            admission.prepare_update(resource, new, old)
        wrong = admission.update_errors(resource, new, old)
        if wrong:
            if deal:
                deal.revert()
            raise invalid_object(resource, key[1], wrong)
        if deal:
            deal.commit()
        managers.note_writer(resource, new, old, wished, writer, timestamp(self._now()))
        new["metadata"]["resourceVersion"] = str(entry.version)
        if fields_of(new) == fields_of(old):
            return entry  # as Kubernetes: a change that changes nothing is no event
        if not dry_run and is_released(new, old):
            if resource.core_kind != "Namespace":
                return self._deleter.remove(resource, key, new)
            entry = self._write(resource, key, new, dry_run)
            self._deleter.finish_namespace(key[1])
            return entry
        return self._write(resource, key, new, dry_run)

    def finalize(self, resource: Resource, key: Key, value: Any) -> Entry:
        """Sets the finalizers in a namespace's spec; one that ends and has none left goes at once, whatever
        is still in it. Refused: 400, 404, 409.
        """
        new, entry = shaped(resource, value)[0], self.get(resource, key)
        check_identity(resource, key, new["metadata"], entry)
        changed = thaw(resource, entry)
        changed["spec"] = {"finalizers": new.get("spec", {}).get("finalizers") or []}
        metadata = changed["metadata"]
        made = self._write(resource, key, changed, False)
        ends = "deletionTimestamp" in metadata and not metadata.get("finalizers")
        if ends and not changed["spec"]["finalizers"]:
            self._deleter.remove_namespace(key[1])
        return made

    def patch(
        self,
        resource: Resource,
        key: Key,
        kind: str,
        patch: Any,
        subresource: str = "",
        dry_run: bool = False,
        writer: Writer | None = None,
        inspect: Callable[[Any], None] = lambda _changed: None,
    ) -> Entry:
        """Changes an object by a difference of one of ``PATCHES``; ``inspect`` sees the outcome first.

        Refused: 400, 404, 409, 415, 422, and by ``inspect``.
        """
        if kind == STRATEGIC and resource.custom:
            raise unsupported_media((JSON_PATCH, MERGE))  # nothing is known of how its lists merge
        entry = self.get(resource, key)
        changed = patched(resource.type, thaw(resource, entry), kind, patch)
        inspect(changed)
        return self.update(resource, key, changed, subresource, dry_run, writer)[0]

    def apply(
        self, resource: Resource, key: Key, wish: Any, writer: Writer, force: bool, dry_run: bool = False
    ) -> tuple[Entry, bool]:
        """Merges a manager's wish into an object, or makes it; gives it and whether it was made. Refused:
        400, 404, 409 where another manager owns what would change, 422.
        """
        wish = shaped(resource, check_wish(wish, writer.manager))[0]
        if wish["metadata"].get("name", key[1]) != key[1]:
            raise bad_request(
                f"the name of the object ({wish['metadata']['name']}) does not match the name on the URL "
                f"({key[1]})"
            )
        entry = self.store.get(resource, key)
        if entry is None:
            if writer.subresource or wish["metadata"].get("uid"):
                raise not_found(resource, key[1])
            wish["metadata"]["name"] = key[1]
            return self.create(resource, key[0], wish, dry_run, writer), True
        live, mine = thaw(resource, entry), writer.entry(resource, timestamp(self._now()))
        changed = applied(resource, live, wish, mine, force=force)
        return self.update(resource, key, changed, writer.subresource, dry_run, writer)

    def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> tuple[Entry, bool]:
        """Deletes an object, or begins to; gives it as it was last and whether it is gone. Refused: 403,
        404, 409.
        """
        entry, gone = self._deleter.delete(resource, key, options)
        if not gone and not options.dry_run:
            self._followers.leaving(resource, key)
        held = self.store.get(resource, key)
        return (entry, True) if held is None else (held, gone)

    def release_finalizers(self, resource: Resource, key: Key, rest: list[str]) -> Entry | None:
        """Leaves an object only these finalizers; gives it, None when it was waiting for that to go."""
        entry = self.get(resource, key)
        obj = thaw(resource, entry)
        obj["metadata"]["finalizers"] = rest
        if not rest:
            del obj["metadata"]["finalizers"]
        if is_released(obj, entry.object):
            self._deleter.remove(resource, key, obj)
            return None
        return self.store.put(resource, key, obj)

    def bind(self, resource: Resource, key: Key, node: str) -> None:
        """Gives a pod its node, once. Refused: 404, 409."""
        entry = self.get(resource, key)
        pod = thaw(resource, entry)
        if pod["spec"].get("nodeName"):
            raise Refused(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on pods/binding "{key[1]}": pod {key[1]} is '
                f'already assigned to node "{pod["spec"]["nodeName"]}"',
                {"name": key[1], "kind": "pods/binding"},
            )
        pod["spec"]["nodeName"] = node
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [c for c in conditions if c.get("type") != "PodScheduled"]
        conditions.append(
            {
                "type": "PodScheduled",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": timestamp(self._now()),
            }
        )
        self._write(resource, key, pod, False)

    def _write(self, resource: Resource, key: Key, obj: Object, dry_run: bool) -> Entry:
        if dry_run:
            return Entry(obj, encode_body(obj), 0)
        entry = self.store.put(resource, key, obj)
        self._deleter.note_owners(resource, key, obj)
        self._followers.written(resource, key, obj)
        return self.store.get(resource, key) or entry

    def _forget(self, resource: Resource, key: Key, obj: Object) -> None:
        """What goes with a removed object: a Service's numbers, and the Endpoints of its name."""
        self._followers.removed(resource, key, obj)
        if resource.core_kind != "Service":
            return
        self.allocator.release(obj["spec"])
        if self.store.get(_ENDPOINTS, key) is not None:
            self.store.remove(_ENDPOINTS, key)


def standard_store(history: int) -> Store:
    """An empty store of all kinds this server knows."""
    return Store(RESOURCES, history)
