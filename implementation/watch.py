"""The only reader of the API: one list, then its changes, for as long as it takes.

A :class:`Watch` follows one kind. It never gives up: when the server is away or forgets where we were
(410), it lists anew and hands over the whole list, from which the receiver finds out by itself what changed
meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import aiohttp
import msgspec

from implementation.kubeconfig import Access
from implementation.listing import Listing

log = logging.getLogger("kube-proxy.watch")

# Label selectors, as upstream has them since 1.36: no Services of other proxies, no slices of headless ones.
NOT_OURS, HEADLESS = "!service.kubernetes.io/service-proxy-name", "!service.kubernetes.io/headless"
WATCH_SECONDS = (
    300  # a server ends a watch after this long; twice that in silence means the connection is dead
)
LIST_SECONDS = 60.0
READ_AT_ONCE = 1 << 19  # bytes
FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0  # seconds between tries while the server is away
ABSENT_SECONDS = 2.0  # between looks whether a kind the server did not know has been installed


class WatchError(Exception):
    """A list or watch failed; the message says how."""


class Expired(WatchError):
    """The server no longer knows the version we were at (410): list again, at once."""


class Absent(WatchError):
    """The server does not know an optional kind (404)."""


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Object(msgspec.Struct):
    metadata: _Meta | None = None
    code: int = 0
    message: str = ""


_events = msgspec.json.Decoder(_Event)
_objects = msgspec.json.Decoder(_Object)


class Part(NamedTuple):
    """Items of a list, as they came; what is not in any part from ``first`` to ``last`` does not exist."""

    items: Sequence[msgspec.Raw]
    first: bool = True
    last: bool = True


class Kind(msgspec.Struct, frozen=True):
    """What to follow: ``path`` of the collection and selectors. An ``optional`` kind the server may not know
    (yet): until it was seen once, that counts as a list without objects.
    """

    name: str
    path: str
    labels: str = ""
    fields: str = ""
    optional: bool = False

    def selectors(self) -> dict[str, str]:
        """Its selectors as parameters of a request."""
        both = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: value for key, value in both.items() if value}


SERVICES = Kind("services", "/api/v1/services", labels=NOT_OURS)
SLICES = Kind("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", labels=HEADLESS)


def node_kind(name: str) -> Kind:
    """The one Node called ``name``."""
    return Kind("nodes", "/api/v1/nodes", fields=f"metadata.name={name}")


class Server:
    """One API server: sessions, headers, TLS."""

    def __init__(self, access: Access) -> None:
        self._access = access
        tls = access.tls() if access.server.startswith("https:") else False
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0, socket_factory=_socket),
            read_bufsize=READ_AT_ONCE,
        )
        self._missing: set[str] = set()
        self._away_since = 0.0

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    def lost(self, kind: str, why: str) -> None:
        """A kind cannot be read. Said once however many kinds are concerned: it is one server."""
        if not self._missing:
            self._away_since = time.monotonic()
            log.warning("API server does not give %s (%s): what was known stays served, trying on", kind, why)
        self._missing.add(kind)

    def found(self, kind: str) -> None:
        """A kind can be read; said when it was the last one missing."""
        if kind in self._missing:
            self._missing.remove(kind)
            if not self._missing:
                log.warning("API server answers again after %.1f s", time.monotonic() - self._away_since)

    def get(self, path: str, params: dict[str, str], timeout: aiohttp.ClientTimeout) -> Any:
        """A request, to be entered with ``async with``."""
        token = self._access.bearer()
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "service-conformance-kube-proxy",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        name = self._access.server_name or None
        return self._session.get(
            self._access.server + path,
            params=params,
            headers=headers,
            timeout=timeout,
            server_hostname=name,
        )


def _socket(address: Any) -> socket.socket:
    """A socket that notices within half a minute when the other side is gone without a word."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 4),
        (socket.TCP_NODELAY, 1),
    ):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


class Watch:
    """Follows one kind; ``on_list`` gets every list, in parts, ``on_event`` every change (type, object)."""

    def __init__(
        self,
        server: Server,
        kind: Kind,
        on_list: Callable[[Part], None],
        on_event: Callable[[str, msgspec.Raw], None],
    ) -> None:
        self._server, self._kind = server, kind
        self._on_list, self._on_event = on_list, on_event
        self._version, self._listed = "", False
        self._failures = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Expired:
                self._version = ""
            except Absent:
                self._answered()
                self._on_list(Part([]))
                await asyncio.sleep(ABSENT_SECONDS)
            except (WatchError, aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError) as error:
                if isinstance(error, msgspec.MsgspecError):
                    self._version = ""  # the same bytes would come again: only a list gets past them
                await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        """Say once that the server is away, and wait, longer each time."""
        self._failures += 1
        if self._failures == 2:  # the first may be an ordinary end of a connection
            self._server.lost(self._kind.name, str(error) or type(error).__name__)
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, 10))
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    def _answered(self) -> None:
        self._server.found(self._kind.name)
        self._failures = 0

    def _params(self, **more: str) -> dict[str, str]:
        return {**self._kind.selectors(), **{key: value for key, value in more.items() if value}}

    async def _list(self) -> None:
        """Any version will do for the start, as the watch goes on from there: servers have one at hand. Who
        asks again has seen a version, and must not go back."""
        timeout = aiohttp.ClientTimeout(total=LIST_SECONDS)
        params = self._params() if self._listed else self._params(resourceVersion="0")
        listing, first = Listing(), True
        async with self._server.get(self._kind.path, params, timeout) as answer:
            if answer.status == 404 and self._kind.optional and not self._listed:
                raise Absent("list: 404")
            if answer.status != 200:
                raise WatchError(f"list: {answer.status} {_said(await answer.read())}")
            async for chunk in answer.content.iter_any():
                if items := listing.take(chunk):
                    self._on_list(Part(items, first, last=False))
                    first = False
        items = listing.end()
        self._answered()
        self._on_list(Part(items, first))
        self._version, self._listed = listing.version, True

    async def _watch(self) -> None:
        params = self._params(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=self._version,
            timeoutSeconds=str(WATCH_SECONDS),
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=2 * WATCH_SECONDS)
        async with self._server.get(self._kind.path, params, timeout) as answer:
            if answer.status == 410:
                raise Expired("410")
            if answer.status != 200:
                raise WatchError(f"watch: {answer.status} {_said(await answer.read())}")
            self._answered()
            start = time.monotonic()
            async for line in lines(answer.content.iter_any()):
                self._take(line)
        if time.monotonic() - start < 1.0:  # a server that hangs up at once is not asked in a tight circle
            await asyncio.sleep(FIRST_WAIT)

    def _take(self, line: bytes) -> None:
        event = _events.decode(line)
        found = _objects.decode(event.object)
        if event.type == "ERROR":
            if found.code == 410:
                raise Expired(found.message)
            raise WatchError(f"watch: {found.code} {found.message}")
        if event.type != "BOOKMARK":
            self._on_event(event.type, event.object)
        if found.metadata and found.metadata.resource_version:
            self._version = found.metadata.resource_version


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines in a stream of bytes, of any length; a last line without its end is not one."""
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in whole:
                if line.strip():
                    yield line


def _said(body: bytes) -> str:
    """The message of a Status object, or the start of whatever came."""
    try:
        return _objects.decode(body).message
    except msgspec.MsgspecError:
        return ascii(body[:120])
