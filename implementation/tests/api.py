"""A tiny API server for tests: lists, watches, and whatever fault a test needs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

KINDS = ("services", "endpointslices", "nodes")


class Api:
    """Objects by kind and name; ``put`` and ``remove`` tell every watcher."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self.version = 10
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self.events: list[dict[str, Any]] = []  # Events that were written
        self.status = 200  # answer of every request when not 200
        self.oldest = 0  # a watch from before this version is told 410
        self._past: list[tuple[str, int, bytes]] = []  # kind, version and line of every event
        self._watchers: list[tuple[str, asyncio.Queue[bytes | None]]] = []

    def put(self, kind: str, value: dict[str, Any]) -> None:
        key = value["metadata"]["name"]
        event = "MODIFIED" if key in self.objects[kind] else "ADDED"
        self.version += 1
        value = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self.version)}}
        self.objects[kind][key] = value
        self.tell(kind, json.dumps({"type": event, "object": value}).encode())

    def remove(self, kind: str, name: str, *, silently: bool = False) -> None:
        value = self.objects[kind].pop(name)
        self.version += 1
        if not silently:
            self.tell(kind, json.dumps({"type": "DELETED", "object": value}).encode())

    def tell(self, kind: str, line: bytes) -> None:
        """Send these bytes and a line end to every watcher of a kind, now and later ones of older
        versions."""
        self._past.append((kind, self.version, line + b"\n"))
        for watched, queue in self._watchers:
            if watched == kind:
                queue.put_nowait(line + b"\n")

    def hang_up(self) -> None:
        """End every watch."""
        for _, queue in self._watchers:
            queue.put_nowait(None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, dict(request.query), request.headers.get("Authorization", "")))
        if self.status != 200:
            return web.json_response(
                {"kind": "Status", "message": "told to fail", "code": self.status}, status=self.status
            )
        kind = request.path.rsplit("/", 1)[1]
        if "watch" not in request.query:
            items = list(self.objects[kind].values())
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        if int(request.query["resourceVersion"]) < self.oldest:
            return web.json_response({"kind": "Status", "code": 410, "message": "too old"}, status=410)
        return await self._stream(request, kind)

    async def _event(self, request: web.Request) -> web.Response:
        self.events.append(await request.json())
        return web.json_response(self.events[-1], status=201)

    async def _stream(self, request: web.Request, kind: str) -> web.StreamResponse:
        answer = web.StreamResponse()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        entry = (kind, queue)
        self._watchers.append(entry)
        try:
            await answer.prepare(request)
            for past, version, line in self._past:
                if past == kind and version > int(request.query["resourceVersion"]):
                    await answer.write(line)
            while (new := await queue.get()) is not None:
                await answer.write(new)
        except ConnectionError:
            pass
        finally:
            self._watchers.remove(entry)
        return answer

    async def start(self, port: int = 0) -> str:
        """Listen on loopback; gives the URL."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        app.router.add_post("/api/v1/namespaces/{namespace}/events", self._event)
        self.runner = web.AppRunner(app, shutdown_timeout=0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Close everything."""
        self.hang_up()
        await self.runner.cleanup()


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "SERVER"}}]
users: [{name: u, user: {token: secret}}]
"""
