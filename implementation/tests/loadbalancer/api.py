"""A few bytes of an API server: list, watch, create and merge patch of whatever path; no rules."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

BY_NAME = ("configmaps", "secrets")  # as deploy/loadbalancer.yaml grants them
UNKNOWN = "/apis/metallb.io"  # as on a cluster without MetalLB's definitions


class Api:
    """Objects by the path of their collection and their key. Start it with :meth:`start`."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}  # kind -> "namespace/name" -> object
        self.events: list[tuple[str, str, str]] = []  # kind, reason, message
        self.writes = 0
        self.failing = False  # answer every write with 500
        self.known_groups = False
        self.away = 0  # so many reads are answered with 503
        self._version = 0
        self._watchers: list[tuple[str, asyncio.Queue[tuple[str, Any]]]] = []
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        assert site._server is not None
        return f"http://{host}:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]

    async def stop(self) -> None:
        for _, queue in self._watchers:
            queue.put_nowait(("END", None))
        if self._runner is not None:
            await self._runner.cleanup()

    def put(self, kind: str, name: str, namespace: str = "", **body: Any) -> None:
        """Make or replace an object, as a user would."""
        key = f"{namespace}/{name}"
        before = self.objects.setdefault(kind, {}).get(key, {})
        meta = {**before.get("metadata", {}), **body.pop("metadata", {}), "name": name, "uid": key}
        if namespace:
            meta["namespace"] = namespace
        self._store(kind, key, {**before, **body, "metadata": meta}, "MODIFIED" if before else "ADDED")

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        gone = self.objects[kind].pop(f"{namespace}/{name}")
        self._tell(kind, "DELETED", gone)

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self.objects[kind][f"{namespace}/{name}"]
        return found

    def ingress(self, name: str, namespace: str = "default") -> list[str]:
        balancer = self.get("services", name, namespace).get("status", {}).get("loadBalancer", {})
        return [entry["ip"] for entry in balancer.get("ingress") or []]

    def _store(self, kind: str, key: str, body: dict[str, Any], what: str) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self.objects.setdefault(kind, {})[key] = body
        self._tell(kind, what, body)

    def _tell(self, kind: str, what: str, body: dict[str, Any]) -> None:
        for watched, queue in self._watchers:
            if watched == kind:
                queue.put_nowait((what, body))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if request.method == "GET" and self.away:
            self.away -= 1
            return web.json_response({"message": "not yet"}, status=503)
        if path.startswith(UNKNOWN) and not self.known_groups:
            return web.json_response(
                {"message": "the server could not find the requested resource"}, status=404
            )
        words = path.strip("/").split("/")
        words = words[2:] if words[0] == "api" else words[3:]
        namespace, words = (
            (words[1], words[2:]) if words[0] == "namespaces" and len(words) > 2 else ("", words)
        )
        kind, key = words[0], f"{namespace}/{words[1]}" if len(words) > 1 else ""
        if request.method == "GET" and kind in BY_NAME and "fieldSelector" not in request.query:
            return web.json_response({"message": f"{kind} is forbidden"}, status=403)
        if request.method == "GET":
            return await self._read(request, kind, namespace)
        self.writes += 1
        if self.failing:
            return web.json_response({"message": "no"}, status=500)
        return self._write(request.method, kind, namespace, key, await request.json())

    def _write(
        self, method: str, kind: str, namespace: str, key: str, body: dict[str, Any]
    ) -> web.Response:
        if method == "POST":
            name = body["metadata"]["name"]
            if kind == "events":
                self.events.append((body["type"], body["reason"], body["message"]))
            if f"{namespace}/{name}" in self.objects.get(kind, {}):
                return web.json_response({}, status=409)
            self.put(
                kind, name, namespace, **{k: v for k, v in body.items() if k not in ("kind", "apiVersion")}
            )
            return web.json_response({}, status=201)
        if key not in self.objects.get(kind, {}):
            return web.json_response({}, status=404)
        self._store(kind, key, _merged(self.objects[kind][key], body), "MODIFIED")
        if kind == "events":
            counted = self.objects[kind][key]
            self.events.append((counted["type"], counted["reason"], counted["message"]))
        return web.json_response({})

    async def _read(self, request: web.Request, kind: str, namespace: str) -> web.StreamResponse:
        fields = request.query.get("fieldSelector", "")

        def asked(found: dict[str, Any]) -> bool:
            meta = found["metadata"]
            return (not namespace or meta.get("namespace") == namespace) and (
                not fields or fields == f"metadata.name={meta['name']}"
            )

        if request.query.get("watch") != "true":
            items = [found for found in self.objects.get(kind, {}).values() if asked(found)]
            return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for found in self.objects.get(kind, {}).values():
            if int(found["metadata"]["resourceVersion"]) > int(request.query["resourceVersion"]):
                queue.put_nowait(("MODIFIED", found))
        self._watchers.append((kind, queue))
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            what, body = await queue.get()
            if what == "END":
                return answer
            if asked(body):
                await answer.write(json.dumps({"type": what, "object": body}).encode() + b"\n")


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found


def service(name: str, namespace: str = "default", port: int = 80, **spec: Any) -> dict[str, Any]:
    """The arguments of :meth:`Api.put` for a Service of type LoadBalancer."""
    return {
        "kind": "services",
        "name": name,
        "namespace": namespace,
        "spec": {
            "type": "LoadBalancer",
            "clusterIPs": ["10.43.0.9"],
            "ports": [{"port": port, "protocol": "TCP"}],
            **spec,
        },
    }
