"""The journal: every change of the store in a file, so that a server that was killed goes on where it was.

A line holds all changes of one request. It is written, in one call, before anybody is answered or told: what
a client saw is in the file, and a line that is torn was never seen. There is no fsync: this outlives the
process, not the power. When the file has grown it is written anew with what the store still knows, history
included, so that a watch resumes over a restart as if there had been none.

=========  ==================================================================================================
header     format, version of the store, number of kinds below
kinds      one a line, definitions first: name, low-water mark, objects as of then, changes since
requests   one a line: changes of kind, namespace, name, version and body (null: removed)
=========  ==================================================================================================
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from clusters.apiserver import definitions
from clusters.apiserver.builtin import builtin
from clusters.apiserver.resources import Resource
from clusters.apiserver.store import Entry, Event, Object, Store

_FORMAT = 1
_DEFINITIONS = builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_LEAST = 16 << 20  # bytes; a smaller file is never written anew


class BadJournal(Exception):
    """The journal cannot be used: says where, and what to do."""


class _Header(msgspec.Struct, array_like=True, frozen=True):
    format: int
    version: int
    kinds: int


class _Change(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    namespace: str
    name: str
    version: int
    body: msgspec.Raw


class _Kind(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    low_water: int
    held: list[tuple[str, str, msgspec.Raw]]
    changes: list[_Change]


_encode = msgspec.json.Encoder().encode
_read_header, _read_kind = msgspec.json.Decoder(_Header).decode, msgspec.json.Decoder(_Kind).decode
_read_changes = msgspec.json.Decoder(list[_Change]).decode
_NULL = msgspec.Raw(b"null")


def _id(resource: Resource) -> str:
    return f"{resource.group}/{resource.version}/{resource.plural}"


def _change(resource: Resource, event: Event) -> _Change:
    body = _NULL if event.new is None else msgspec.Raw(event.new.body)
    return _Change(_id(resource), *event.key, event.version, body)


def lines(store: Store) -> Iterator[bytes]:
    """A whole store, as the header and the kinds of a journal."""
    kinds = sorted(store.kinds.holders(), key=lambda resource: resource != _DEFINITIONS)
    yield _encode(_Header(_FORMAT, store.version, len(kinds))) + b"\n"
    for resource in kinds:
        log = store.log(resource)
        held = store.past(resource, log.low_water) or []
        yield _encode(_Kind(
            _id(resource), log.low_water,
            [(*key, msgspec.Raw(entry.body)) for key, entry in held],
            [_change(resource, event) for event in log.kept],
        )) + b"\n"


def replay(data: bytes, store: Store) -> tuple[int, int]:
    """Gives an empty store the life that a journal tells of.

    Gives how long its first part is, up to the last kind, and its whole, up to the last line that is not torn
    (bytes). BadJournal: it is not one, or a line in it cannot be read.
    """
    number, start, first = 0, 0, 0
    header = _Header(0, 0, 0)
    try:
        while (end := data.find(b"\n", start)) >= 0:
            line = memoryview(data)[start:end]
            if number == 0:
                header = _read_header(line)
                if header.format != _FORMAT:
                    break
            elif number <= header.kinds:
                _take_kind(store, _read_kind(line))
            else:
                _repeat(store, _read_changes(line))
            number, start = number + 1, end + 1
            if number == header.kinds + 1:
                first, store.version = start, header.version
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
        raise BadJournal(f"line {number + 1} cannot be read ({type(error).__name__}: {error})") from error
    if not first:
        raise BadJournal(f"it is no journal of format {_FORMAT}, or ends before its objects do")
    return first, start


def _take_kind(store: Store, told: _Kind) -> None:
    resource = _find(store, told.kind)
    if resource is None:  # a custom kind, whose definition stands in the first line of them
        group, _, plural = told.kind.split("/")
        definition = store.get(_DEFINITIONS, ("", f"{plural}.{group}"))
        if definition is None:
            raise ValueError(f"nothing defines the kind {told.kind}")
        _serve(store, definition.object)
        resource = store.kinds.find(*told.kind.split("/"))
        if resource is None:
            raise ValueError(f"the definition of {plural}.{group} lacks the version of {told.kind}")
    held = (((namespace, name), _entry(resource, body)) for namespace, name, body in told.held)
    store.hold(resource, held, told.low_water)
    for change in told.changes:
        _repeat_one(store, resource, change)


def _repeat(store: Store, changes: list[_Change]) -> None:
    for change in changes:
        resource = _find(store, change.kind)
        if resource is None:
            store.version = change.version  # an object that went with its definition
            continue
        before = store.get(resource, (change.namespace, change.name))
        _repeat_one(store, resource, change)
        if resource == _DEFINITIONS:
            after = store.get(resource, (change.namespace, change.name))
            if after is not None:
                _serve(store, after.object)
            elif before is not None:
                for gone in reversed(definitions.resources(before.object)):
                    store.serve_no_more(gone)


def _repeat_one(store: Store, resource: Resource, change: _Change) -> None:
    entry = None if bytes(change.body) == b"null" else _entry(resource, change.body)
    store.repeat(resource, (change.namespace, change.name), change.version, entry)


def _serve(store: Store, definition: Object) -> None:
    for resource in definitions.resources(definition):
        store.serve(resource)


def _find(store: Store, kind: str) -> Resource | None:
    group, version, plural = kind.split("/")
    return store.kinds.find(group, version, plural)


def _entry(resource: Resource, raw: msgspec.Raw) -> Entry:
    body = bytes(raw)
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, **msgspec.json.decode(body)}
    return Entry(obj, body, int(obj["metadata"]["resourceVersion"]))


class Journal:
    """The file of one running server. ``least``: bytes below which it is never written anew."""

    def __init__(self, path: Path, store: Store, least: int = _LEAST) -> None:
        self._path, self._store, self._least = path, store, least
        self._waiting: list[_Change] = []
        self._fd, self._size, self._limit = -1, 0, 0

    def begin(self) -> None:
        """Starts a file with what the store holds now. OSError: it cannot be written."""
        self._anew()
        self._store.note = self._note

    def resume(self) -> None:
        """Gives the (empty) store what the file tells, and goes on with it. BadJournal, OSError."""
        gc.disable()  # nothing of it is garbage; looking for some would take most of the time
        try:
            first, whole = replay(self._path.read_bytes(), self._store)
        except BadJournal as bad:
            raise BadJournal(f"{self._path}: {bad}; remove it to begin with an empty cluster") from bad
        finally:
            gc.enable()
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(self._fd, whole)  # a torn last line: its request was never answered
        self._size, self._limit = whole, max(self._least, 2 * first)
        self._store.note = self._note

    def _note(self, resource: Resource, event: Event) -> None:
        self._waiting.append(_change(resource, event))

    def commit(self) -> None:
        """Writes what has changed since the last time; to be called before anybody hears of it.

        OSError: it could not be written; nothing is lost, and the next call tries again.
        """
        if not self._waiting:
            return
        line = _encode(self._waiting) + b"\n"
        try:
            _write(self._fd, line)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._waiting.clear()
        self._size += len(line)
        if self._size > self._limit:
            try:
                self._anew()
            except OSError as error:
                sys.stderr.write(f"{self._path} grows on, it cannot be written anew: {error}\n")
                self._limit = 2 * self._size

    def _anew(self) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = 0
        try:
            for line in lines(self._store):
                _write(fd, line)
                size += len(line)
            fresh.replace(self._path)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._limit = fd, size, max(self._least, 2 * size)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
