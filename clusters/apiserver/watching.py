"""A watch as an HTTP answer: what it says first, its bookmarks, its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from clusters.apiserver import faces, routes
from clusters.apiserver.listing import whole_number
from clusters.apiserver.parameters import JSON, flag, request_selector
from clusters.apiserver.resources import Resource, home
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
        query, holder = request.query, home(target.resource)
        test = request_selector(holder, query, target.name)
        scope = Scope(
            target.resource,
            target.namespace,
            test,
            (lambda body: encode(target.resource, faces.body_from_home(body)))
            if target.resource.stored_as
            else None,
            target.resource.group,
        )
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
        metadata: dict[str, Any] = {"resourceVersion": str(self.store.version), "creationTimestamp": None}
        if ends_initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = scope.resource
        return line(
            "BOOKMARK",
            msgspec.json.encode(
                {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
            ),
        )


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
