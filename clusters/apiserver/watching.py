"""A watch as an HTTP answer: what it says first, its bookmarks, its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from clusters.apiserver import faces, routes
from clusters.apiserver.accept import Form, accepted
from clusters.apiserver.bodies import JSON
from clusters.apiserver.forms import object_in, table_options
from clusters.apiserver.listing import whole_number
from clusters.apiserver.parameters import flag, request_selector
from clusters.apiserver.resources import Resource
from clusters.apiserver.selectors import Test
from clusters.apiserver.status import Refused, expired, forbidden_field
from clusters.apiserver.store import Store, encode
from clusters.apiserver.watch import Hub, Scope, Watcher, chunk, line

_LONGEST = 3600.0  # seconds, when the client names no end


class Watching:
    """Answers watch requests. ``bookmark_seconds``: the time between bookmarks, for clients that want
    them.
    """

    def __init__(self, store: Store, hub: Hub, bookmark_seconds: float) -> None:
        self.store, self.hub, self._bookmark_seconds = store, hub, bookmark_seconds

    async def answer(self, request: web.BaseRequest, target: routes.Target) -> web.StreamResponse:
        """Streams events until the client's timeout or its end. Refused: 400, 422."""
        query, holder = request.query, self.store.kinds.home(target.resource)
        test = request_selector(holder, query, target.name)
        form = accepted(request.headers.get("Accept", ""))
        scope = _scope(form, target, test, query)
        seconds = whole_number(query.get("timeoutSeconds", ""), "timeoutSeconds") or _LONGEST
        first, position, refused = self._beginning(scope, holder, query)
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        if first:
            transport.write(chunk(first))
        if refused is None:
            watcher = Watcher(self.store.log(holder), position, scope, transport)
            bookmarks = flag(query.get("allowWatchBookmarks", ""))
            refused = await self._follow(watcher, min(float(seconds), _LONGEST), bookmarks)
        if refused is not None:
            transport.write(chunk(line("ERROR", msgspec.json.encode(refused.body()))))
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _beginning(
        self, scope: Scope, holder: Resource, query: Mapping[str, str]
    ) -> tuple[bytes, int, Refused | None]:
        """What a watch says first, where in the log it goes on, and why it ends at once if it does."""
        log = self.store.log(holder)
        wants_initial = query.get("sendInitialEvents", "")
        match = query.get("resourceVersionMatch", "")
        version = query.get("resourceVersion", "")
        _check_watch_options(wants_initial, match)
        initial = flag(wants_initial) if wants_initial else version in {"", "0"}
        if not initial and version not in {"", "0"}:
            asked = whole_number(version, "resourceVersion")
            position = log.position_after(asked)
            if position is None:
                return b"", 0, expired(f"too old resource version: {asked} ({log.low_water})")
            return b"", position, None
        if not initial:
            return b"", log.end, None
        test = scope.test
        lines = [
            line("ADDED", scope.object(entry.body))
            for _, entry in self.store.select(holder, scope.namespace)
            if test is None or test(entry.object)
        ]
        if wants_initial and flag(query.get("allowWatchBookmarks", "")):
            lines.append(self._bookmark(scope, ends_initial=True))
        return b"".join(lines), log.end, None

    async def _follow(self, watcher: Watcher, seconds: float, bookmarks: bool) -> Refused | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self.hub.add(watcher)
        try:
            while (left := end - loop.time()) > 0:
                pause = min(left, self._bookmark_seconds) if bookmarks else left
                done, _ = await asyncio.wait({watcher.done}, timeout=pause)
                if done:
                    return watcher.done.result()
                # The end of a watch brings a last bookmark, so that the next one resumes from here.
                if bookmarks and watcher.pump(loop.time()) and watcher.position == watcher.log.end:
                    watcher.transport.write(chunk(self._bookmark(watcher.scope, ends_initial=False)))
        finally:
            self.hub.remove(watcher)
        return None

    def _bookmark(self, scope: Scope, *, ends_initial: bool) -> bytes:
        told = self._bookmark_metadata(ends_initial=ends_initial)
        resource = scope.resource
        if scope.face is None:  # in a table a bookmark is a row without cells
            held = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": told}
            body = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": told["resourceVersion"]},
                "columnDefinitions": [],
                "rows": [{"cells": [], "object": held}],
            }
        else:
            body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": told}
        return line("BOOKMARK", msgspec.json.encode(body))

    def _bookmark_metadata(self, *, ends_initial: bool) -> dict[str, Any]:
        metadata: dict[str, Any] = {"resourceVersion": str(self.store.version), "creationTimestamp": None}
        if ends_initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        return metadata


def _scope(form: Form, target: routes.Target, test: Test | None, query: Mapping[str, str]) -> Scope:
    """What a watch shows and how: bytes shared by all its like, or rows of its own."""
    resource = target.resource
    if form.kind != "Table":
        shown: Callable[[bytes], bytes] | None = None
        face = resource.api_version if resource.stored_as else ""
        if form.kind:
            face = "partial"

            def shown(body: bytes) -> bytes:
                return object_in(form, resource, msgspec.json.decode(body), body, query, 0.0)
        elif resource.stored_as:

            def shown(body: bytes) -> bytes:
                return encode(resource, faces.body_from_home(resource, body))

        return Scope(resource, target.namespace, test, shown, face)
    table_options(form, query)  # refused before the stream begins
    columns_due = [True]

    def as_row(body: bytes) -> bytes:
        first, columns_due[0] = columns_due[0], False
        obj = msgspec.json.decode(body)
        return object_in(form, resource, obj, body, query, time.time(), with_columns=first)

    return Scope(resource, target.namespace, test, as_row, None)


def _check_watch_options(initial: str, match: str) -> None:
    wrong = None
    if initial and match != "NotOlderThan":
        wrong = forbidden_field(
            "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    elif match and not initial:
        wrong = forbidden_field(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )
    if wrong:
        raise Refused(
            422,
            "Invalid",
            f'ListOptions.meta.k8s.io "" is invalid: {wrong.field}: {wrong.body}',
            {
                "group": "meta.k8s.io",
                "kind": "ListOptions",
                "causes": [{"reason": wrong.reason, "message": wrong.body, "field": wrong.field}],
            },
        )
