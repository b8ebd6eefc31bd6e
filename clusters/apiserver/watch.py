"""Watches: every watcher reads the one shared log of its kind by position and writes shared bytes.

No queue and no encoding belongs to a watcher. One that does not read is passed over until its socket has
room; when the log has moved on past it by then, it is told 410 and cut, so a slow reader costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from clusters.apiserver.resources import Resource
from clusters.apiserver.selectors import Test
from clusters.apiserver.status import Refused, expired
from clusters.apiserver.store import Event, Log, encode

_ROOM = 256 * 1024  # bytes a socket may hold back before its watcher is passed over
_RETRY = 0.02  # seconds until watchers that were passed over are tried again
_PATIENCE = 30.0  # seconds a socket may take nothing at all before it is cut
_BATCH = 512  # events written at once

Encode = Callable[[bytes, Any], bytes]


@dataclass(frozen=True)
class Scope:
    """What a watcher wants to see: one kind, in one namespace or all, maybe only what a selector matches.

    ``encode`` gives an object's JSON from its stored body; kinds with two faces have two. ``face`` names it;
    without a name nothing made for this watcher is shared with others (rows of a table hold ages).
    """

    resource: Resource
    namespace: str = ""
    test: Test | None = None
    encode: Callable[[bytes], bytes] | None = None
    face: str | None = ""

    def object(self, body: bytes) -> bytes:
        """The JSON of a stored object as this watcher is to see it."""
        return self.encode(body) if self.encode else encode(self.resource, body)


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP/1.1 chunked transfer."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def line(kind: str, obj: bytes) -> bytes:
    """One watch event as a line of JSON."""
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), obj)


def frame(event: Event, scope: Scope) -> bytes:
    """The line of an event for a watcher, or empty where it does not concern it; made once for all
    watchers.
    """
    if scope.namespace and event.key[0] != scope.namespace:
        return b""
    kind = _kind(event, scope.test)
    if not kind:
        return b""
    cached = None if scope.face is None else event.frames.get(kind + scope.face)
    if cached is None:
        body = event.last.body
        if kind == "LEFT" and event.old is not None:
            # The object left the selector: its last matching state, at the version at which it left.
            body = _with_version(event.old.body, event.version)
        cached = line("DELETED" if kind == "LEFT" else kind, scope.object(body))
        if scope.face is not None:
            event.frames[kind + scope.face] = cached
    return cached


def _kind(event: Event, test: Test | None) -> str:
    was = event.old is not None and (test is None or test(event.old.object))
    matches = event.new is not None and (test is None or test(event.new.object))
    if matches:
        return "MODIFIED" if was else "ADDED"
    if not was:
        return ""
    return "LEFT" if event.new is not None else "DELETED"


def _with_version(body: bytes, version: int) -> bytes:
    fields = msgspec.json.decode(body)
    fields["metadata"]["resourceVersion"] = str(version)
    return msgspec.json.encode(fields)


class Watcher:
    """One open watch: a position in a log and the connection it writes to."""

    def __init__(self, log: Log, position: int, scope: Scope, transport: asyncio.Transport) -> None:
        self.log, self.position, self.scope, self.transport = log, position, scope, transport
        self.done: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
        self._stuck_since: float | None = None

    def pump(self, now: float) -> bool:
        """Writes what is new; False when the connection had no room and must be tried again. ``now`` in
        seconds.
        """
        if self.done.done():
            return True
        if self.transport.is_closing():
            self._end(None)
            return True
        if self.transport.get_write_buffer_size() > _ROOM:
            return self._passed_over(now)
        self._stuck_since = None
        events = self.log.read(self.position)
        if events is None:
            self._end(
                expired(
                    "too old resource version: the watcher read more slowly than the objects changed; "
                    f"the oldest change kept is {self.log.low_water}"
                )
            )
            return True
        part = events[:_BATCH]
        data = b"".join([frame(event, self.scope) for event in part])
        self.position += len(part)
        if data:
            self.transport.write(chunk(data))
        return len(part) == len(events)

    def _passed_over(self, now: float) -> bool:
        if self._stuck_since is None:
            self._stuck_since = now
        if now - self._stuck_since > _PATIENCE or self.log.read(self.position) is None:
            self.transport.abort()
            self._end(None)
            return True
        return False

    def _end(self, why: Refused | None) -> None:
        if not self.done.done():
            self.done.set_result(why)


class Hub:
    """Wakes watchers after changes of the store.

    Many changes in a row share one round: after a round as much time as it took is left to others, so 500
    watchers cannot starve the writers, and one watcher hears at once.
    """

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    def add(self, watcher: Watcher) -> None:
        """Begins to write to a watcher."""
        self._watchers.add(watcher)
        if not watcher.pump(asyncio.get_running_loop().time()):
            self._schedule(_RETRY)

    def remove(self, watcher: Watcher) -> None:
        """Forgets a watcher."""
        self._watchers.discard(watcher)

    def changed(self) -> None:
        """To be called after every change of the store."""
        if self._watchers and self._timer is None:
            self._schedule(max(0.0, self._not_before - asyncio.get_running_loop().time()))

    def _schedule(self, delay: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._round)

    def _round(self) -> None:
        self._timer = None
        clock = asyncio.get_running_loop().time
        begun = clock()
        waiting = [watcher for watcher in self._watchers if not watcher.pump(begun)]
        ended = clock()
        self._not_before = ended + (ended - begun)
        if waiting:
            self._schedule(max(_RETRY, ended - begun))
