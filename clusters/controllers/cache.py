"""What the API server is known to hold of one kind: its watch, plus our own writes the moment they return.

Without our own writes in it, a decision made between a create and its ADDED event would create twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str]  # namespace ("" where there is none) and name


@dataclass(frozen=True)
class Change:
    """One object before and after; None where it did not or does not exist."""

    old: Object | None
    new: Object | None

    @property
    def any(self) -> Object:
        """The newer of the two: every change has at least one."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


def key_of(item: Object) -> Key:
    """The key of an object."""
    meta = item["metadata"]
    return meta.get("namespace") or "", meta["name"]


def version_of(item: Object) -> int:
    """The resource version as a number (comparable since Kubernetes 1.35); 0 when it is not one."""
    text = str(item["metadata"].get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def owner_uids(item: Object) -> set[str]:
    """The uids of all owners of an object."""
    return {ref["uid"] for ref in item["metadata"].get("ownerReferences") or ()}


def controller_of(item: Object) -> Object | None:
    """The owner reference whose ``controller`` is true, if there is one."""
    for ref in item["metadata"].get("ownerReferences") or ():
        if ref.get("controller"):
            found: Object = ref
            return found
    return None


class Cache:
    """The objects of one kind, by namespace and name, with indexes by namespace and by owner."""

    def __init__(self) -> None:
        self.synced = False
        self._told = 0  # the version up to which the watch has told everything
        self._spaces: dict[str, dict[str, Object]] = {}
        self._owned: dict[str, dict[Key, Object]] = {}
        self._uids: set[str] = set()
        self._dead: set[str] = set()  # uids we deleted ourselves; late events must not bring them back

    def get(self, key: Key) -> Object | None:
        """The object at ``key``, or None."""
        return self._spaces.get(key[0], {}).get(key[1])

    def space(self, namespace: str) -> list[Object]:
        """All objects of one namespace."""
        return list(self._spaces.get(namespace, {}).values())

    def owned_by(self, uid: str) -> list[Object]:
        """All objects that name ``uid`` as an owner."""
        return list(self._owned.get(uid, {}).values())

    def has(self, uid: str) -> bool:
        """Whether an object with this uid is held."""
        return uid in self._uids

    def __iter__(self) -> Iterator[Object]:
        for space in list(self._spaces.values()):
            yield from list(space.values())

    def event(self, kind: str, value: Any) -> list[Change]:
        """Take in one event of ``Client.watch``; gives what changed by it."""
        if kind == "SYNC":
            return self._sync(value)
        self._told = max(self._told, version_of(value))
        if kind == "DELETED":
            return self._gone(value)
        change = self._take(value)
        return [change] if change else []

    def write(self, item: Object) -> Change | None:
        """Take in what an answer shows; None when it is no news.

        Of an object that is not held the watch may have told the end already, while the answer was under way:
        nothing would ever take it out again.
        """
        if self.get(key_of(item)) is None and 0 < version_of(item) <= self._told:
            return None
        return self._take(item)

    def _take(self, item: Object) -> Change | None:
        key, held = key_of(item), self.get(key_of(item))
        if item["metadata"].get("uid") in self._dead:
            return None
        if held is not None and version_of(held) >= version_of(item) > 0:
            return None
        self._put(key, held, item)
        return Change(held, item)

    def deleted(self, item: Object) -> list[Change]:
        """Take in that ``item`` is gone by our own doing, before its event arrives."""
        if uid := item["metadata"].get("uid"):
            self._dead.add(uid)
        return self._drop(item)

    def _sync(self, items: list[Object]) -> list[Change]:
        self.synced = True
        self._dead.clear()
        self._told = max(map(version_of, items), default=0)
        changes, present = [], set()
        for item in items:
            key = key_of(item)
            present.add(key)
            held = self.get(key)
            if held is None or version_of(held) != version_of(item):
                self._put(key, held, item)
                changes.append(Change(held, item))
        for item in list(self):
            if key_of(item) not in present:
                changes += self._drop(item)
        return changes

    def _gone(self, item: Object) -> list[Change]:
        self._dead.discard(item["metadata"].get("uid", ""))
        return self._drop(item)

    def _drop(self, item: Object) -> list[Change]:
        key = key_of(item)
        held = self.get(key)
        if held is None or held["metadata"].get("uid") != item["metadata"].get("uid"):
            return []
        del self._spaces[key[0]][key[1]]
        self._unindex(key, held)
        return [Change(held, None)]

    def _put(self, key: Key, held: Object | None, item: Object) -> None:
        if held is not None:
            self._unindex(key, held)
        self._spaces.setdefault(key[0], {})[key[1]] = item
        self._uids.add(item["metadata"].get("uid", ""))
        for uid in owner_uids(item):
            self._owned.setdefault(uid, {})[key] = item

    def _unindex(self, key: Key, held: Object) -> None:
        self._uids.discard(held["metadata"].get("uid", ""))
        for uid in owner_uids(held):
            owned = self._owned.get(uid, {})
            owned.pop(key, None)
            if not owned:
                self._owned.pop(uid, None)
