"""The API server as a process: arguments, TLS, tokens, sockets; and HTTP's side of every operation.

``main`` is the entry point (clusters.apiserver.http:main). Rules live in ``registry``; here are only status
codes, headers, query parameters and the connection of a watch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from clusters.apiserver import discovery, faces, routes
from clusters.apiserver.deletion import DeleteOptions, delete_options
from clusters.apiserver.listing import ListOptions, list_objects, whole_number
from clusters.apiserver.registry import PATCHES, Registry
from clusters.apiserver.resources import Resource, home
from clusters.apiserver.scale import scale_of, with_replicas
from clusters.apiserver.selectors import Test, selector
from clusters.apiserver.shapes import parse_json, shaped
from clusters.apiserver.status import (
    Refused,
    bad_request,
    expired,
    forbidden_field,
    method_not_allowed,
    path_not_found,
    unauthorized,
    unsupported_media,
)
from clusters.apiserver.store import Entry, encode
from clusters.apiserver.watch import Hub, Scope, Watcher, chunk, line

BODY_LIMIT = 3 * 1024 * 1024  # bytes, as kube-apiserver
_OPEN_PATHS = ("/readyz", "/livez", "/healthz", "/version")
_LONGEST_WATCH = 3600.0  # seconds, when the client names no end
_ACTIONS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_JSON = "application/json"


def _response(body: Any, status: int = 200) -> web.Response:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return web.Response(body=data, status=status, content_type=_JSON)


class Api:
    """Answers requests over one registry. ``tokens``: bearer token → user; ``address``: what discovery tells."""

    def __init__(self, registry: Registry, tokens: Mapping[str, Any], address: str, bookmark_seconds: float) -> None:
        self.registry, self.store, self.tokens, self.address = registry, registry.store, dict(tokens), address
        self.hub = Hub(registry.store)
        self._bookmark_seconds = bookmark_seconds

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; every refusal becomes its ``Status`` body."""
        try:
            return await self._answer(request)
        except Refused as refused:
            return _response(refused.body(), refused.code)
        except (web.HTTPRequestEntityTooLarge, HttpProcessingError):
            return _response(Refused(413, "RequestEntityTooLarge", "Request entity too large: limit is "
                                     f"{BODY_LIMIT}").body(), 413)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith(_OPEN_PATHS):
            return self._open(path)
        self._authenticate(request)
        target = routes.parse(request.method, path)
        if target is None:
            return _response(self._discover(path))
        if not target.verb:
            raise method_not_allowed(target.resource, _ACTIONS.get(request.method, request.method.lower()))
        if target.verb in {"list", "get"} and not target.subresource and _flag(request.query.get("watch", "")):
            return await self._watch(request, target)
        body = await request.read() if request.method in {"POST", "PUT", "PATCH", "DELETE"} else b""
        answer = self._operate(request, target, body)
        self.hub.changed()
        return answer

    def _open(self, path: str) -> web.Response:
        if path.rstrip("/") == "/version":
            return _response(discovery.VERSION)
        return web.Response(text="ok")

    def _authenticate(self, request: web.BaseRequest) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or token.strip() not in self.tokens:
            raise unauthorized()

    def _discover(self, path: str) -> Any:
        parts = [part for part in path.split("/") if part]
        found: Any = None
        if parts == ["api"]:
            found = discovery.core_versions(self.address)
        elif parts == ["apis"]:
            found = discovery.group_list()
        elif parts[:1] == ["api"] and len(parts) == 2:
            found = discovery.resource_list("", parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 2:
            found = discovery.group(parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 3:
            found = discovery.resource_list(parts[1], parts[2])
        elif parts == ["openapi", "v3"]:
            found = discovery.openapi_paths()
        elif parts[:2] == ["openapi", "v3"]:
            found = discovery.openapi("/".join(parts[2:]))
        if found is None:
            raise path_not_found()
        return found

    def _operate(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        resource, query = target.resource, request.query
        if target.subresource == "scale":
            return self._scale(request, target, body)
        if target.verb == "list":
            return self._list(target, query)
        if target.verb == "get":
            return self._object(resource, self.registry.get(home(resource), target.key))
        if target.verb == "deletecollection":
            return self._delete_collection(target, query, _read(request, body))
        if target.verb == "delete":
            return self._delete(target, delete_options(_read(request, body), dict(query)))
        dry_run = _dry_run(query)
        if target.verb == "patch":
            return self._patch(request, target, body, dry_run)
        value = _read(request, body)
        if value is None:
            raise bad_request("the body is empty: a JSON object was expected")
        if target.subresource == "binding":
            return self._bind(target, value)
        value = faces.to_home(resource, home(resource), value)
        warnings = _check_fields(home(resource), value, query)
        if target.verb == "create":
            return self._object(resource, self.registry.create(home(resource), target.namespace, value, dry_run), 201,
                                warnings)
        entry, created = self.registry.update(home(resource), target.key, value, target.subresource, dry_run)
        return self._object(resource, entry, 201 if created else 200, warnings)

    def _object(self, resource: Resource, entry: Entry, status: int = 200, warnings: str = "") -> web.Response:
        response = _response(encode(resource, _faced(resource)(entry.body)), status)
        if warnings:
            response.headers["Warning"] = f'299 - "{warnings}"'
        return response

    def _patch(self, request: web.BaseRequest, target: routes.Target, body: bytes, dry_run: bool) -> web.Response:
        if request.content_type not in PATCHES:
            raise unsupported_media(PATCHES)
        holder = home(target.resource)
        patch = faces.to_home(target.resource, holder, parse_json(body))
        entry = self.registry.patch(holder, target.key, request.content_type, patch, target.subresource, dry_run)
        return self._object(target.resource, entry)

    def _bind(self, target: routes.Target, value: Any) -> web.Response:
        node = value.get("target", {}).get("name") if isinstance(value, dict) else None
        if not isinstance(node, str) or not node:
            raise bad_request("a Binding must name the node in target.name")
        self.registry.bind(target.resource, target.key, node)
        return _response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)

    def _scale(self, request: web.BaseRequest, target: routes.Target, body: bytes) -> web.Response:
        entry = self.registry.get(target.resource, target.key)
        if target.verb == "get":
            return _response(scale_of(entry.object))
        patch_type = request.content_type if target.verb == "patch" else ""
        changed = with_replicas(target.resource, entry, _read_any(body), patch_type)
        entry, _ = self.registry.update(target.resource, target.key, changed, "", _dry_run(request.query))
        return _response(scale_of(entry.object))

    def _list(self, target: routes.Target, query: Mapping[str, str]) -> web.Response:
        holder = home(target.resource)
        options = ListOptions(target.namespace, _selector(holder, query), whole_number(query.get("limit", ""), "limit"),
                              query.get("continue", ""), query.get("resourceVersion", ""),
                              query.get("resourceVersionMatch", ""))
        return _response(list_objects(self.store, target.resource, holder, options, _recode(target.resource)))

    def _delete(self, target: routes.Target, options: DeleteOptions) -> web.Response:
        entry, gone = self.registry.delete(home(target.resource), target.key, options)
        if target.resource.returns_deleted or not gone:
            return self._object(target.resource, entry)
        details = {"name": target.name, "group": target.resource.group, "kind": target.resource.plural,
                   "uid": entry.object["metadata"]["uid"]}
        return _response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                          "details": {name: value for name, value in details.items() if value}})

    def _delete_collection(self, target: routes.Target, query: Mapping[str, str], body: Any) -> web.Response:
        holder = home(target.resource)
        options, test = delete_options(body, dict(query)), _selector(holder, query)
        chosen = [(key, entry) for key, entry in self.store.select(holder, target.namespace)
                  if test is None or test(entry.object)]
        for key, _ in chosen:
            if self.store.get(holder, key) is not None:
                with contextlib.suppress(Refused):  # a lasting namespace stays, the others go
                    self.registry.delete(holder, key, options)
        items = b",".join(_faced(target.resource)(entry.body) for _, entry in chosen)
        kind, version = target.resource.kind, target.resource.api_version
        return _response(f'{{"kind":"{kind}List","apiVersion":"{version}","metadata":{{"resourceVersion":'
                         f'"{self.store.version}"}},"items":['.encode() + items + b"]}")

    async def _watch(self, request: web.BaseRequest, target: routes.Target) -> web.StreamResponse:
        query, holder = request.query, home(target.resource)
        test = _selector(holder, query, target.name)
        scope = Scope(target.resource, target.namespace, test,
                      (lambda body: encode(target.resource, faces.body_from_home(body)))
                      if target.resource.stored_as else None, target.resource.group)
        seconds = whole_number(query.get("timeoutSeconds", ""), "timeoutSeconds") or _LONGEST_WATCH
        first, position, refused = self._beginning(scope, holder, query)
        response = web.StreamResponse(headers={"Content-Type": _JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        if first:
            transport.write(chunk(first))
        if refused is None:
            watcher = Watcher(self.store.log(holder), position, scope, transport)
            bookmarks = _flag(query.get("allowWatchBookmarks", ""))
            refused = await self._follow(watcher, min(float(seconds), _LONGEST_WATCH), bookmarks)
        if refused is not None:
            transport.write(chunk(line("ERROR", msgspec.json.encode(refused.body()))))
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _beginning(self, scope: Scope, holder: Resource,
                   query: Mapping[str, str]) -> tuple[bytes, int, Refused | None]:
        """What a watch says first, where in the log it goes on, and why it ends at once if it does."""
        log = self.store.log(holder)
        wants_initial = query.get("sendInitialEvents", "")
        match = query.get("resourceVersionMatch", "")
        version = query.get("resourceVersion", "")
        _check_watch_options(wants_initial, match)
        initial = _flag(wants_initial) if wants_initial else version in {"", "0"}
        if not initial and version not in {"", "0"}:
            asked = whole_number(version, "resourceVersion")
            position = log.position_after(asked)
            if position is None:
                return b"", 0, expired(f"too old resource version: {asked} ({log.low_water})")
            return b"", position, None
        if not initial:
            return b"", log.end, None
        test = scope.test
        lines = [line("ADDED", scope.object(entry.body)) for _, entry in self.store.select(holder, scope.namespace)
                 if test is None or test(entry.object)]
        if wants_initial and _flag(query.get("allowWatchBookmarks", "")):
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
        return line("BOOKMARK", msgspec.json.encode(
            {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}))


def _flag(text: str) -> bool:
    return text.lower() in {"1", "true", "t"}


def _dry_run(query: Mapping[str, str]) -> bool:
    value = query.get("dryRun", "")
    if value not in {"", "All"}:
        raise bad_request(f'Invalid value: "{value}": dryRun: Unsupported value: supported values: "All"')
    return value == "All"


def _read_any(body: bytes) -> Any:
    return parse_json(body) if body.strip() else None


def _read(request: web.BaseRequest, body: bytes) -> Any:
    """The decoded body; None when it is empty. Refused 415 for anything but JSON."""
    if body and request.headers.get("Content-Type") and request.content_type != _JSON:
        raise unsupported_media([_JSON])
    return _read_any(body)


def _selector(holder: Resource, query: Mapping[str, str], name: str = "") -> Test | None:
    fields = query.get("fieldSelector", "")
    if name:
        fields = f"metadata.name={name}" + (f",{fields}" if fields else "")
    return selector(holder, query.get("labelSelector", ""), fields)


def _faced(resource: Resource) -> Callable[[bytes], bytes]:
    return faces.body_from_home if resource.stored_as else bytes


def _recode(resource: Resource) -> Callable[[bytes], bytes] | None:
    return faces.body_from_home if resource.stored_as else None


def _check_fields(resource: Resource, value: Any, query: Mapping[str, str]) -> str:
    """Unknown fields by the request's ``fieldValidation``: refused, warned of (the text given back), or ignored."""
    mode = query.get("fieldValidation", "Warn")
    if mode == "Ignore":
        return ""
    _, unknown = shaped(resource, value)
    told = ", ".join(f'unknown field "{name}"' for name in unknown)
    if told and mode == "Strict":
        raise bad_request(f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                          f"strict decoding error: {told}")
    return told.replace('"', "'").replace("\n", " ").replace("\r", " ")


def _check_watch_options(initial: str, match: str) -> None:
    wrong = None
    if initial and match != "NotOlderThan":
        wrong = forbidden_field("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to "
                                                        "NotOlderThan")
    elif match and not initial:
        wrong = forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless "
                                                        "sendInitialEvents is provided")
    if wrong:
        raise Refused(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {wrong.field}: {wrong.body}',
                      {"group": "meta.k8s.io", "kind": "ListOptions",
                       "causes": [{"reason": wrong.reason, "message": wrong.body, "field": wrong.field}]})


def main(args: list[str]) -> int:
    """The process's entry point: serves until SIGTERM; 0 at a clean end, 3 for bad arguments or no socket."""
    import sys

    from clusters.apiserver.serve import BadArgument, serve

    try:
        serve(args)
    except (BadArgument, OSError) as error:
        sys.stderr.write(f"apiserver: {error}\n")
        return 3
    return 0
