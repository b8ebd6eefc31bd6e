"""Deleting: preconditions, grace, finalizers, dependents, and emptying a namespace. Pure.

Rules: ``registry/generic/registry/store.go``, the garbage collector and the namespace controller of
Kubernetes 1.36. What those controllers do some time later happens here within the same operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from clusters.apiserver.builtin import builtin
from clusters.apiserver.namespaces import conditions
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import bad_request, conflict, forbidden, not_found
from clusters.apiserver.store import Entry, Key, Object, Store

_LASTING = {"default", "kube-system", "kube-public"}
_FOREGROUND = "foregroundDeletion"
_POLICIES = ("", "Background", "Foreground", "Orphan")


@dataclass(frozen=True)
class DeleteOptions:
    """How to delete: only this uid or version, seconds of grace (None: the pod's own), what of dependents."""

    uid: str = ""
    version: str = ""
    grace: int | None = None
    policy: str = ""
    dry_run: bool = False


def delete_options(body: Any, query: dict[str, str]) -> DeleteOptions:
    """Options from a request's body, or its query where the body is empty. Refused 400 for wrong types."""
    if body is None:
        body = {
            name: query[name]
            for name in ("propagationPolicy", "gracePeriodSeconds", "dryRun")
            if name in query
        }
        if "gracePeriodSeconds" in body:
            body["gracePeriodSeconds"] = _seconds(body["gracePeriodSeconds"])
    if not isinstance(body, dict):
        raise bad_request("DeleteOptions: an object was expected")
    conditions = body.get("preconditions") or {}
    grace, policy = body.get("gracePeriodSeconds"), body.get("propagationPolicy") or ""
    if not isinstance(conditions, dict) or (grace is not None and (not isinstance(grace, int) or grace < 0)):
        raise bad_request(
            "DeleteOptions: preconditions must be an object and gracePeriodSeconds a whole number "
            "of seconds, 0 or more"
        )
    if policy not in _POLICIES:
        raise bad_request(
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}": '
            'supported values: "Foreground", "Background", "Orphan"'
        )
    if body.get("orphanDependents") is True:
        policy = "Orphan"
    return DeleteOptions(
        str(conditions.get("uid") or ""),
        str(conditions.get("resourceVersion") or ""),
        grace,
        policy,
        bool(body.get("dryRun") or query.get("dryRun")),
    )


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise bad_request(f'gracePeriodSeconds: "{text}" is not a whole number of seconds, 0 or more')
    return int(text[:9])


class Deleter:
    """Deletes objects of a store. ``forget`` is told of each object removed; ``now`` gives a timestamp."""

    def __init__(
        self, store: Store, forget: Callable[[Resource, Key, Object], None], now: Callable[[], str]
    ) -> None:
        self.store, self._forget, self._now = store, forget, now
        self._dependents: dict[str, set[tuple[Resource, Key]]] = {}  # by the owner's uid
        self._waiting: dict[str, tuple[Resource, Key]] = {}  # owners deleted in the foreground, by uid
        self._terminating: set[str] = set()
        self._left: dict[str, frozenset[Resource]] = {}  # the kinds last told to be left in a namespace

    def note_owners(self, resource: Resource, key: Key, obj: Object) -> None:
        """Remembers who owns an object just written."""
        for owner in obj["metadata"].get("ownerReferences") or ():
            self._dependents.setdefault(owner["uid"], set()).add((resource, key))

    def adopt(self, resource: Resource, key: Key, obj: Object) -> None:
        """Takes on an object of an earlier life, with the deletion it may be in."""
        self.note_owners(resource, key, obj)
        metadata = obj["metadata"]
        if "deletionTimestamp" not in metadata:
            return
        if resource.core_kind == "Namespace":
            self._terminating.add(key[1])
        elif _FOREGROUND in (metadata.get("finalizers") or ()):
            self._waiting[metadata["uid"]] = (resource, key)

    def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> tuple[Entry, bool]:
        """Deletes, or marks for deletion; gives the object and whether it is gone. Refused: 403, 404, 409."""
        entry = self.store.get(resource, key)
        if entry is None:
            raise not_found(resource, key[1])
        self._check(resource, key, entry, options)
        if options.dry_run:
            return entry, True
        if resource.core_kind == "Namespace":
            return self._delete_namespace(resource, key, entry)
        grace = _grace(resource, entry.object, options)
        if options.policy == "Orphan":
            self._orphan(entry.object["metadata"]["uid"])
        finalizers = list(entry.object["metadata"].get("finalizers") or ())
        waits = options.policy == "Foreground" and self._living_dependents(entry.object["metadata"]["uid"])
        if waits and _FOREGROUND not in finalizers:
            finalizers.append(_FOREGROUND)
        if not finalizers and grace == 0:
            return self.remove(resource, key, entry.object), True
        marked = self._mark(resource, key, entry, grace, finalizers)
        if waits:
            self._waiting[entry.object["metadata"]["uid"]] = (resource, key)
            self._delete_dependents(entry.object["metadata"]["uid"], options.policy)
            return marked, self.store.get(resource, key) is None
        return marked, False

    def _check(self, resource: Resource, key: Key, entry: Entry, options: DeleteOptions) -> None:
        have = entry.object["metadata"]["uid"]
        if options.uid and options.uid != have:
            raise conflict(
                resource,
                key[1],
                f"the UID in the precondition ({options.uid}) does not match the UID in "
                f"record ({have}). The object might have been deleted and then recreated",
            )
        if options.version and options.version != str(entry.version):
            raise conflict(
                resource,
                key[1],
                f"the ResourceVersion in the precondition ({options.version}) does not "
                f"match the ResourceVersion in record ({entry.version}). The object might have been "
                "modified",
            )
        if resource.core_kind == "Namespace" and key[1] in _LASTING:
            raise forbidden(resource, key[1], "this namespace may not be deleted")

    def _mark(self, resource: Resource, key: Key, entry: Entry, grace: int, finalizers: list[str]) -> Entry:
        """Writes the deletion marks; a later, shorter grace replaces a longer one, never the other way
        round.
        """
        obj = msgspec.json.decode(entry.body)
        metadata = obj["metadata"]
        earlier = metadata.get("deletionGracePeriodSeconds")
        if earlier is not None and earlier <= grace and finalizers == (metadata.get("finalizers") or []):
            return entry
        ends = datetime.strptime(self._now(), "%Y-%m-%dT%H:%M:%SZ") + timedelta(seconds=grace)
        metadata["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace
        if finalizers:
            metadata["finalizers"] = finalizers
        if resource.has_generation and earlier is None:
            metadata["generation"] = metadata.get("generation", 0) + 1
        return self.store.put(
            resource, key, {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
        )

    def remove(self, resource: Resource, key: Key, obj: Object) -> Entry:
        """Removes an object for good, and then what depends on it; gives it with the version of its
        removal.
        """
        last = self.store.remove(resource, key)
        metadata = obj["metadata"]
        for owner in metadata.get("ownerReferences") or ():
            self._dependents.get(owner["uid"], set()).discard((resource, key))
        self._forget(resource, key, last.object)
        self._delete_dependents(metadata["uid"], "")
        for owner in metadata.get("ownerReferences") or ():
            self._release_foreground(owner["uid"])
        if key[0] in self._terminating:
            self.finish_namespace(key[0])
        return last

    def _living_dependents(self, uid: str) -> list[tuple[Resource, Key]]:
        found = sorted(self._dependents.get(uid, ()), key=lambda item: (item[0].plural, item[1]))
        return [(resource, key) for resource, key in found if self._owned(resource, key, uid)]

    def _owned(self, resource: Resource, key: Key, uid: str) -> bool:
        entry = self.store.get(resource, key)
        return entry is not None and any(
            owner["uid"] == uid for owner in entry.object["metadata"].get("ownerReferences") or ()
        )

    def _delete_dependents(self, uid: str, policy: str) -> None:
        for resource, key in self._living_dependents(uid):
            entry = self.store.get(resource, key)
            if entry is None or not self._owned(resource, key, uid):
                continue
            others = [o for o in entry.object["metadata"]["ownerReferences"] if o["uid"] != uid]
            if any(self._exists(owner["uid"]) for owner in others):
                self._disown(resource, key, entry, uid)
            elif "deletionTimestamp" not in entry.object["metadata"]:
                self.delete(resource, key, DeleteOptions(policy=policy))
        if not policy:
            self._dependents.pop(uid, None)

    def _exists(self, uid: str) -> bool:
        return any(
            entry.object["metadata"]["uid"] == uid
            for resource in self.store.kinds.holders()
            for _, entry in self.store.select(resource)
        )

    def _orphan(self, uid: str) -> None:
        for resource, key in self._living_dependents(uid):
            entry = self.store.get(resource, key)
            if entry is not None:
                self._disown(resource, key, entry, uid)
        self._dependents.pop(uid, None)

    def _disown(self, resource: Resource, key: Key, entry: Entry, uid: str) -> None:
        obj = msgspec.json.decode(entry.body)
        owners = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
        obj["metadata"]["ownerReferences"] = owners
        if not owners:
            del obj["metadata"]["ownerReferences"]
        self.store.put(resource, key, {"kind": resource.kind, "apiVersion": resource.api_version, **obj})

    def _release_foreground(self, uid: str) -> None:
        """Lets an owner go that waited for its dependents, when the last of them is gone."""
        found = self._waiting.get(uid)
        if found is None or self._living_dependents(uid):
            return
        entry = self.store.get(*found)
        if entry is None or entry.object["metadata"]["uid"] != uid:
            del self._waiting[uid]
        elif entry.object["metadata"].get("finalizers") == [_FOREGROUND]:
            del self._waiting[uid]
            self.remove(*found, entry.object)

    def _delete_namespace(self, resource: Resource, key: Key, entry: Entry) -> tuple[Entry, bool]:
        name = key[1]
        marked = entry
        if "deletionTimestamp" not in entry.object["metadata"]:
            obj = msgspec.json.decode(entry.body)
            obj["metadata"]["deletionTimestamp"] = self._now()
            obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
            marked = self.store.put(
                resource, key, {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
            )
        self._terminating.add(name)
        for kind in self.store.kinds.holders():
            if kind.namespaced:
                for inner, _ in list(self.store.select(kind, name)):
                    if self.store.get(kind, inner) is not None:  # a dependent may be gone with its owner
                        self.delete(kind, inner, DeleteOptions())
        self.finish_namespace(name)
        return self.store.get(resource, key) or marked, self.store.get(resource, key) is None

    def finish_namespace(self, name: str) -> None:
        """Lets a namespace that ends go when nothing is left in it and nobody holds it; else it says why."""
        namespaces, key = builtin("", "v1", "namespaces"), ("", name)
        entry = self.store.get(namespaces, key)
        if entry is None or name not in self._terminating:
            return
        kinds = [kind for kind in self.store.kinds.holders() if kind.namespaced]
        left = frozenset(kind for kind in kinds if self.store.holds_any(kind, name))
        if left and self._left.get(name) == left:
            return  # the same kinds as before: each object that goes is not worth a line
        self._left[name] = left
        obj = msgspec.json.decode(entry.body)
        if not left:
            others = [held for held in obj["spec"].get("finalizers") or () if held != "kubernetes"]
            obj["spec"]["finalizers"] = others
            if not others and not obj["metadata"].get("finalizers"):
                self.remove_namespace(name)
                return
        there = {kind: [held.object for _, held in self.store.select(kind, name)] for kind in left}
        before = obj.get("status", {}).get("conditions") or ()
        obj["status"]["conditions"] = conditions(there, before, self._now())
        if obj["spec"] != entry.object["spec"] or obj["status"] != entry.object.get("status"):
            self.store.put(namespaces, key, {"kind": "Namespace", "apiVersion": "v1", **obj})

    def remove_namespace(self, name: str) -> None:
        """Removes a namespace, whatever may be left in it."""
        self._terminating.discard(name)
        self._left.pop(name, None)
        self.store.remove(builtin("", "v1", "namespaces"), ("", name))


def _grace(resource: Resource, obj: Object, options: DeleteOptions) -> int:
    """Seconds a pod may take to end: none when it never got a node or has ended, else as asked or as it
    says.
    """
    if resource.core_kind != "Pod":
        return 0
    spec, metadata = obj.get("spec", {}), obj["metadata"]
    if not spec.get("nodeName") or obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    wanted = options.grace if options.grace is not None else spec.get("terminationGracePeriodSeconds", 30)
    return int(min(wanted, metadata.get("deletionGracePeriodSeconds", wanted)))
