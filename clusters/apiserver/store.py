"""Objects and their history: one integer version, a sorted table and an event log for each kind. Pure.

Objects handed in are kept and handed out as they are: whoever wants to change one makes a copy first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from clusters.apiserver.resources import Catalogue, Resource

Object = dict[str, Any]
Key = tuple[str, str]  # namespace ("" where there is none), name

_encoder = msgspec.json.Encoder()
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored object; ``body`` is its JSON without kind and apiVersion, from ``"metadata"`` on."""

    object: Object
    body: bytes
    version: int


@dataclass(slots=True)
class Event:
    """One change. ``old`` is None for a creation, ``new`` is None for a removal.

    ``last`` is the entry as a watcher sees it, a removed one with the version of its removal. ``frames``
    keeps the bytes of the change as they go over the wire, made once for all watchers.
    """

    version: int
    key: Key
    old: Entry | None
    new: Entry | None
    last: Entry
    frames: dict[str, bytes] = field(default_factory=dict)


class Log:
    """The last changes of one kind, oldest first; what fell out is remembered by a low-water mark."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.low_water = 0  # a watch may resume from this version or a later one
        self._first = 0  # position of the oldest kept event, counted from the beginning of time
        self._events: list[Event] = []

    @property
    def end(self) -> int:
        """The position after the newest event."""
        return self._first + len(self._events)

    @property
    def kept(self) -> list[Event]:
        """Every event that is not forgotten."""
        return list(self._events)

    def append(self, event: Event) -> None:
        """Adds the newest event, and forgets the older half when the log is full (so that it costs
        little).
        """
        self._events.append(event)
        if len(self._events) > self.capacity:
            self.forget(len(self._events) - self.capacity // 2)

    def forget(self, count: int) -> None:
        """Drops the ``count`` oldest events."""
        if count:
            self.low_water = self._events[count - 1].version
            self._first += count
            del self._events[:count]

    def position_after(self, version: int) -> int | None:
        """Where to read on for everything later than ``version``; None when that is no longer complete."""
        if version < self.low_water:
            return None
        return self._first + bisect_right(self._events, version, key=lambda event: event.version)

    def read(self, position: int) -> list[Event] | None:
        """The events from ``position`` on; None when some of them have been forgotten."""
        if position < self._first:
            return None
        return self._events[position - self._first :]


class _Table:
    def __init__(self, history: int) -> None:
        self.entries: dict[Key, Entry] = {}
        self.keys: list[Key] = []  # always sorted: a list walks it, a write finds its place by halving
        self.in_namespace: dict[str, int] = {}
        self.log = Log(history)

    def put(self, key: Key, entry: Entry) -> None:
        if key not in self.entries:
            insort(self.keys, key)
            self.in_namespace[key[0]] = self.in_namespace.get(key[0], 0) + 1
        self.entries[key] = entry

    def remove(self, key: Key) -> None:
        del self.entries[key]
        del self.keys[bisect_left(self.keys, key)]
        self.in_namespace[key[0]] -= 1
        if not self.in_namespace[key[0]]:
            del self.in_namespace[key[0]]


class Store:
    """All objects of one server. ``history`` is how many changes of each kind can be resumed from.

    ``note`` is told of every change as it is made, for whoever keeps them.
    """

    def __init__(self, resources: tuple[Resource, ...], history: int = 10_000) -> None:
        self.version, self._history = 1, history
        self.note: Callable[[Resource, Event], None] = lambda _resource, _event: None
        self.kinds = Catalogue(resources)
        self._tables = {resource: _Table(history) for resource in self.kinds.holders()}

    def serve(self, resource: Resource) -> None:
        """Adds a kind, or describes one anew; its objects stay."""
        self.kinds.put(resource)
        if not resource.stored_as and resource not in self._tables:
            table = self._tables[resource] = _Table(self._history)
            table.log.low_water = self.version

    def serve_no_more(self, resource: Resource) -> None:
        """Takes a kind away; its objects must have been deleted before."""
        self.kinds.drop(resource)
        self._tables.pop(resource, None)

    def log(self, resource: Resource) -> Log:
        """The event log of a kind."""
        return self._tables[resource].log

    def get(self, resource: Resource, key: Key) -> Entry | None:
        """The entry, or None."""
        return self._tables[resource].entries.get(key)

    def select(
        self, resource: Resource, namespace: str = "", after: Key | None = None
    ) -> Iterator[tuple[Key, Entry]]:
        """The entries of a kind in order of namespace and name; only those after a key, when one is given."""
        table = self._tables[resource]
        keys = table.keys
        low = bisect_left(keys, (namespace, "")) if namespace else 0
        high = bisect_right(keys, (namespace, _LAST)) if namespace else len(keys)
        if after is not None:
            low = max(low, bisect_right(keys, after))
        entries = table.entries
        return ((key, entries[key]) for key in keys[low:high])

    def past(self, resource: Resource, version: int) -> list[tuple[Key, Entry]] | None:
        """The entries as they were at an earlier version; None when the history does not reach back to it."""
        log = self._tables[resource].log
        position = log.position_after(version)
        later = None if position is None else log.read(position)
        if later is None:
            return None
        entries: dict[Key, Entry | None] = dict(self._tables[resource].entries)
        for event in reversed(later):
            entries[event.key] = event.old
        kept = [(key, entry) for key, entry in entries.items() if entry is not None]
        return sorted(kept, key=lambda item: item[0])

    def holds_any(self, resource: Resource, namespace: str) -> bool:
        """True when the namespace has an object of the kind."""
        return namespace in self._tables[resource].in_namespace

    def put(self, resource: Resource, key: Key, obj: Object) -> Entry:
        """Stores an object under the next version, written into its metadata; the change goes to the log."""
        table = self._tables[resource]
        old = table.entries.get(key)
        entry = self._entry(obj)
        table.put(key, entry)
        self._happened(resource, table, Event(entry.version, key, old, entry, entry))
        return entry

    def remove(self, resource: Resource, key: Key) -> Entry:
        """Removes an object; the entry given back carries the version of the removal. KeyError: no such
        object.
        """
        table = self._tables[resource]
        old = table.entries[key]
        table.remove(key)
        last = self._entry({**old.object, "metadata": dict(old.object["metadata"])})
        self._happened(resource, table, Event(last.version, key, old, None, last))
        return last

    def _happened(self, resource: Resource, table: _Table, event: Event) -> None:
        table.log.append(event)
        self.note(resource, event)

    def hold(self, resource: Resource, entries: Iterable[tuple[Key, Entry]], low_water: int) -> None:
        """Takes in objects of an earlier life, as they are, and from which version on they were followed."""
        table = self._tables[resource]
        for key, entry in entries:
            table.put(key, entry)
        table.log.low_water = low_water

    def repeat(self, resource: Resource, key: Key, version: int, entry: Entry | None) -> None:
        """Makes a change of an earlier life again, at its version: a removal where there is no entry."""
        if entry is None:
            self.version = version - 1
            self.remove(resource, key)
            return
        self.version, table = version, self._tables[resource]
        old = table.entries.get(key)
        table.put(key, entry)
        self._happened(resource, table, Event(version, key, old, entry, entry))

    def forget_history(self) -> None:
        """Makes the present version the oldest to resume from, for every kind (after the start-up
        objects).
        """
        for table in self._tables.values():
            table.log.forget(table.log.end - table.log._first)
            table.log.low_water = self.version

    def _entry(self, obj: Object) -> Entry:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        return Entry(obj, encode_body(obj), self.version)


def encode_body(obj: Object) -> bytes:
    """The object's JSON without kind and apiVersion, which the kind's ``prefix`` puts in front."""
    fields = {name: value for name, value in obj.items() if name not in {"kind", "apiVersion"}}
    return _encoder.encode(fields)


def encode(resource: Resource, body: bytes) -> bytes:
    """The whole object's JSON from its body."""
    return resource.prefix + body[1:]
