"""A small asynchronous client of the Kubernetes API: plain dictionaries in, plain dictionaries out.

Errors (every one is an ``ApiError``)::

    ApiError            the server refused: ``status``, ``reason`` and ``message`` are its own words
    ├── NotFound        404: the object, or the whole resource, is not there
    ├── AlreadyExists   409 on create
    ├── Conflict        409 on a stale write: read again and decide again
    ├── Expired         410: the resource version asked for is no longer kept
    └── Unreachable     no answer at all (status 0): the server is down, or the connection was cut
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import msgspec

from clusters.credentials import read_kubeconfig

Object = dict[str, Any]
Objects = list[Object]
Event = tuple[str, Any]  # ("SYNC", [objects]) or ("ADDED" | "MODIFIED" | "DELETED", object)
PatchKind = Literal["merge", "strategic", "json"]

_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
_WATCH_SECONDS = 300  # how long a watch is asked to stay open; chance adds up to 60 s to spread renewals
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 2.0  # seconds between tries at a server that does not answer


class ApiError(Exception):
    """The API server refused a request, in its own words."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):
    """404: no such object or resource."""


class AlreadyExists(ApiError):
    """409 on create: the name is taken."""


class Conflict(ApiError):
    """409 on a write: somebody else wrote first; read again and decide again."""


class Expired(ApiError):
    """410: the server no longer keeps that resource version."""


class Unreachable(ApiError):
    """No answer: the server is down or the connection was cut."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


def error_of(status: int, body: bytes) -> ApiError:
    """The typed error for an answer with ``status`` >= 400; ``body`` is a Status object, or anything."""
    reason, message = "", ""
    try:
        said = msgspec.json.decode(body)
        if isinstance(said, dict):
            reason, message = str(said.get("reason") or ""), str(said.get("message") or "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = body[:200].decode(errors="replace").strip()
    message = message or f"the API server answered {status} without a reason"
    kind: type[ApiError]
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
    else:
        kind = {404: NotFound, 410: Expired}.get(status, ApiError)
    return kind(status, reason, message)


class Client:
    """One connection pool to one API server; use it as an asynchronous context manager.

    ``server`` is the base URL; ``ca`` the PEM text of its certificate authority (None: plain HTTP or the
    system's own authorities); ``token`` the bearer token; ``timeout`` seconds for one request (not a watch).
    """

    def __init__(
        self, server: str, *, ca: str | None = None, token: str | None = None, timeout: float = 30.0,
    ) -> None:
        self.server = server.rstrip("/")
        self._ca = ca
        self._token = token
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: str | Path, *, timeout: float = 30.0) -> Self:
        """A client for the current context of a kubeconfig file (CA data or file, token or token file).

        Raises KubeconfigError, naming file and field, when it cannot be used.
        """
        found = read_kubeconfig(Path(path))
        return cls(found.server, ca=found.ca, token=found.token, timeout=timeout)

    async def __aenter__(self) -> Self:
        tls: ssl.SSLContext | bool = True
        if self._ca is not None:
            tls = ssl.create_default_context(cadata=self._ca)
        headers = {"Accept": "application/json", "User-Agent": "service-conformance"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        # No limit: each watch holds a connection for minutes, and requests must never queue behind watches.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=15),
            headers=headers, auto_decompress=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; a watch under way ends with Unreachable."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("this Client is not open: use `async with Client…`")
        return self._session

    async def request(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send one request and give the decoded answer; raises ApiError or one of its kinds."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": content_type} if data is not None else {}
        try:
            async with self._open().request(
                method, self.server + path, data=data, params=query or {}, headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{method} {path}: {_words(error)}") from error
        if response.status >= 400:
            raise error_of(response.status, answer)
        try:
            decoded = msgspec.json.decode(answer) if answer else {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(response.status, "BadAnswer", f"{method} {path}: not JSON: {error}") from error
        return decoded if isinstance(decoded, dict) else {"value": decoded}

    async def get(self, path: str) -> Object:
        """Read one object (``path`` is its full path, ``/api/v1/namespaces/default/pods/web``)."""
        return await self.request("GET", path)

    async def list(self, path: str, *, label: str = "", field: str = "") -> Objects:
        """Read all objects of a collection; each gets the apiVersion and kind that lists leave out."""
        return (await self._list(path, label, field))[0]

    async def create(self, path: str, body: Object) -> Object:
        """Create ``body`` in the collection ``path`` (or post to a subresource); gives the stored object."""
        return await self.request("POST", path, body)

    async def update(self, path: str, body: Object) -> Object:
        """Replace the object at ``path``; Conflict when its resourceVersion is stale."""
        return await self.request("PUT", path, body)

    async def patch(self, path: str, body: Any, kind: PatchKind = "merge") -> Object:
        """Patch the object at ``path``; ``body`` is a mapping, or a list of operations for ``json``."""
        return await self.request("PATCH", path, body, content_type=_PATCH_TYPES[kind])

    async def patch_status(self, path: str, body: Any, kind: PatchKind = "merge") -> Object:
        """Patch the status of the object at ``path``; ``body`` is ``{"status": …}``."""
        return await self.patch(f"{path}/status", body, kind)

    async def delete(self, path: str, *, grace: int | None = None, uid: str | None = None) -> Object:
        """Delete the object at ``path``: after ``grace`` seconds, only if it still has ``uid``."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        return await self.request("DELETE", path, options)

    async def _list(self, path: str, label: str, field: str) -> tuple[Objects, str]:
        answer = await self.request("GET", path, query=_selectors(label, field))
        version = answer.get("apiVersion", "v1")
        kind = str(answer.get("kind", "List")).removesuffix("List")
        items = answer.get("items") or []
        for item in items:
            item.setdefault("apiVersion", version)
            item.setdefault("kind", kind)
        return items, str((answer.get("metadata") or {}).get("resourceVersion") or "")

    async def watch(
        self, path: str, *, label: str = "", field: str = "", trouble: Callable[[str], None] | None = None,
    ) -> AsyncIterator[Event]:
        """Everything that happens in the collection ``path``, for ever.

        First ``("SYNC", [all objects])``, then ``("ADDED" | "MODIFIED" | "DELETED", object)``. A cut
        connection is resumed from the last version seen; when the server no longer keeps it (410), a new SYNC
        follows: what is not in it is gone. A server that is down is tried again with growing pauses (2 s at
        most), and ``trouble`` gets one sentence each time it is lost. Raises ApiError when refused for good.
        """
        version, wait, told = "", _FIRST_WAIT, False
        while True:
            began = time.monotonic()
            try:
                if not version:
                    items, version = await self._list(path, label, field)
                    yield "SYNC", items
                async for kind, item in self._stream(path, label, field, version):
                    version = item.get("metadata", {}).get("resourceVersion") or version
                    wait, told = _FIRST_WAIT, False
                    if kind != "BOOKMARK":
                        yield kind, item
                if time.monotonic() - began > 1.0:  # it ran its time; one ended at once must not spin
                    continue
            except Expired:
                version = ""
                continue
            except ApiError as error:
                if error.status not in (0, 429) and error.status < 500:
                    raise
                if trouble is not None and not told:
                    trouble(f"watch of {path}: {error.message}; trying again until it is back")
                told = True
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _stream(
        self, path: str, label: str, field: str, version: str,
    ) -> AsyncIterator[tuple[str, Object]]:
        """One watch connection; ends when the server ends it, raises ApiError when it is cut or refused."""
        seconds = _WATCH_SECONDS + random.randrange(60)
        query = _selectors(label, field) | {
            "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        limits = aiohttp.ClientTimeout(total=seconds + 30, sock_connect=5)
        try:
            async with self._open().get(self.server + path, params=query, timeout=limits) as response:
                if response.status >= 400:
                    raise error_of(response.status, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(_words(error)) from error


def _selectors(label: str, field: str) -> dict[str, str]:
    return {name: text for name, text in (("labelSelector", label), ("fieldSelector", field)) if text}


def _event(line: bytes) -> tuple[str, Object]:
    """One line of a watch; an ERROR event becomes the error it carries."""
    try:
        event = msgspec.json.decode(line)
        kind, item = event["type"], event["object"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise Unreachable(f"a watch line that is not an event: {line[:80]!r}") from error
    if kind == "ERROR":
        raise error_of(int(item.get("code") or 500), msgspec.json.encode(item))
    return kind, item


def _words(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientPayloadError):  # its own text speaks of transfer encodings
        return "the connection was cut"
    return str(error) or type(error).__name__
