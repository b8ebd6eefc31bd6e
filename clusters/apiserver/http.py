"""The API server over HTTP: who may ask, which part answers, and the words when something is refused.

``main`` is the process's entry point (``clusters.apiserver.http:main``).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from aiohttp import web

from clusters.apiserver import discovery, openapi, routes, streams
from clusters.apiserver.operations import Operations
from clusters.apiserver.parameters import bearer, flag, response
from clusters.apiserver.registry import Registry
from clusters.apiserver.reviews import Tokens
from clusters.apiserver.status import (
    Refused,
    bad_request,
    internal,
    method_not_allowed,
    path_not_found,
    unauthorized,
)
from clusters.apiserver.watch import Hub
from clusters.apiserver.watching import Watching

BODY_LIMIT = 3 * 1024 * 1024  # bytes, as kube-apiserver
_OPEN_PATHS = {"readyz", "livez", "healthz", "version"}  # told to everybody, as Kubernetes does
_ACTIONS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Api:
    """Answers requests over one registry. ``tokens``: who may ask; ``address``: what discovery tells.

    ``keep`` is called after every request that may have changed something, before anybody hears of it.
    """

    def __init__(
        self,
        registry: Registry,
        tokens: Tokens,
        address: str,
        bookmark_seconds: float,
        kubelet_socket: str = "",
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        self._tokens, self.address, self._now, self._keep = tokens, address, registry.now, keep
        self.hub = Hub()
        self._kinds = registry.store.kinds
        self._operations = Operations(registry, self._tokens)
        self._streams = streams.Streams(registry, kubelet_socket)
        self._watching = Watching(registry.store, self.hub, bookmark_seconds)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; every refusal becomes its ``Status`` body."""
        try:
            return await self._answer(request)
        except Refused as refused:
            return response(refused.body(), refused.code)
        except web.HTTPRequestEntityTooLarge:
            words = f"Request entity too large: limit is {BODY_LIMIT}"
            return response(Refused(413, "RequestEntityTooLarge", words).body(), 413)
        except RecursionError:
            return response(
                bad_request("the body is nested too deeply to be an object of Kubernetes").body(), 400
            )
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            # The last resort: a bug of ours is told to the log in full and to the client in one line.
            sys.stderr.write(traceback.format_exc())
            return response(internal(f"{type(error).__name__}: {error}").body(), 500)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.split("/")[1] in _OPEN_PATHS:
            return self._open(path)
        self._authenticate(request)
        target = routes.parse(self._kinds, request.method, path)
        if target is None:
            return self._discover(request)
        if not target.verb:
            raise method_not_allowed(target.resource, _ACTIONS.get(request.method, request.method.lower()))
        if target.verb in {"list", "get"} and not target.subresource and flag(request.query.get("watch", "")):
            return await self._watching.answer(request, target)
        if target.subresource in streams.NAMES and target.resource.core_kind == "Pod":
            return await self._streams.answer(request, target)
        body = await request.read() if request.method in {"POST", "PUT", "PATCH", "DELETE"} else b""
        try:
            return self._operations.operate(request, target, body)
        finally:
            self._keep()
            self.hub.changed()

    def _open(self, path: str) -> web.Response:
        if path.rstrip("/") == "/version":
            return response(discovery.VERSION)
        return web.Response(text="ok")

    def _authenticate(self, request: web.BaseRequest) -> None:
        if self._tokens.user(bearer(request), self._now()) is None:
            raise unauthorized()

    def _discover(self, request: web.BaseRequest) -> web.Response:
        kinds, parts = self._kinds, [part for part in request.path.split("/") if part]
        if parts in (["api"], ["apis"]) and _wants_all(request.headers.get("Accept", "")):
            told = response(discovery.aggregated(kinds, core=parts == ["api"]))
            told.headers["Content-Type"] = discovery.AGGREGATED
            return told
        found: Any = None
        if parts == ["api"]:
            found = discovery.core_versions(self.address)
        elif parts == ["apis"]:
            found = discovery.group_list(kinds)
        elif parts[:1] == ["api"] and len(parts) == 2:
            found = discovery.resource_list(kinds, "", parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 2:
            found = discovery.group(kinds, parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 3:
            found = discovery.resource_list(kinds, parts[1], parts[2])
        elif parts == ["openapi", "v3"]:
            found = openapi.paths(kinds)
        elif parts[:2] == ["openapi", "v3"]:
            found = openapi.document(kinds, "/".join(parts[2:]))
        if found is None:
            raise path_not_found()
        return response(found)


def _wants_all(accept: str) -> bool:
    """True when the client takes aggregated discovery of the version spoken here."""
    return any(
        {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"}
        <= set(entry.replace(" ", "").split(";"))
        for entry in accept.split(",")
    )


def main(args: list[str]) -> int:
    """The process's entry point: serves until SIGTERM; 0 at a clean end, 3 for bad arguments or no socket."""
    from clusters.apiserver.arguments import BadArgument
    from clusters.apiserver.journal import BadJournal
    from clusters.apiserver.serve import serve

    try:
        serve(args)
    except (BadArgument, BadJournal, OSError) as error:
        sys.stderr.write(f"apiserver: {error}\n")
        return 3
    return 0
