"""Port-forward: from kubectl's WebSocket to connections in the pod's network, made by the kubelet, and back.

Two protocols (KEP-4006, and ``pkg/streaming/portforward`` of Kubernetes 1.36): SPDY/3.1 in binary messages, a
pair of streams for each connection, which kubectl speaks; and v4.channel.k8s.io, two channels for each port.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from clusters.apiserver import kubelet, spdy
from clusters.apiserver.status import Refused, bad_request

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_BLOCK = 32 * 1024  # bytes of a connection read at once
_BEHIND = 16 * 1024 * 1024  # bytes a pod may be behind before the client's other connections wait for it
Object = dict[str, Any]
Send = Callable[[bytes], Any]  # bytes for the client


class _Connection:
    """One forwarded connection: what the client sends waits in order until the pod takes it."""

    def __init__(self, path: str, asked: Object) -> None:
        self._path, self._asked = path, asked
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._size = 0
        self._room = asyncio.Event()

    async def put(self, content: bytes) -> None:
        """Bytes of the client; empty: its end."""
        self._waiting.put_nowait(content)
        self._size += len(content)
        while self._size > _BEHIND:
            self._room.clear()
            await self._room.wait()

    async def carry(self, send: Send) -> str:
        """Connect and carry both ways to the end; gives a sentence when it could not be."""
        try:
            stream = await kubelet.ask(self._path, self._asked)
        except Refused as refused:
            self._size = 0
            self._room.set()
            return refused.message
        typing = asyncio.create_task(self._type(stream))
        try:
            with suppress(ConnectionError):
                while content := await stream.reader.read(_BLOCK):
                    await send(content)
        finally:
            typing.cancel()
            stream.close()
            self._size = 0
            self._room.set()
        return ""

    async def _type(self, stream: kubelet.Stream) -> None:
        with suppress(ConnectionError):
            while content := await self._waiting.get():
                stream.writer.write(content)
                await stream.writer.drain()
                self._size -= len(content)
                self._room.set()
            stream.writer.write_eof()


class Tunnel:
    """SPDY within a WebSocket: kubectl opens an error and a data stream for each connection it takes."""

    def __init__(self, socket: web.WebSocketResponse, path: str, asked: Object) -> None:
        self._socket, self._path, self._asked = socket, path, asked
        self._session = spdy.Session()
        self._errors: dict[str, int] = {}  # request id → its error stream
        self._open: dict[int, tuple[_Connection, asyncio.Task[None]]] = {}  # by data stream

    async def serve(self) -> None:
        """Until the client leaves, or says what is not SPDY."""
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    for event in self._session.feed(message.data):
                        await self._take(event)
        except spdy.Malformed as error:
            await self._socket.close(code=1002, message=str(error).encode()[:120])
        finally:
            tasks = [task for _, task in self._open.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, event: spdy.Event) -> None:
        if isinstance(event, spdy.Ping):
            await self._socket.send_bytes(spdy.ping(event.number))
        elif isinstance(event, spdy.Opened):
            await self._opened(event)
        elif event.stream in self._open:
            connection, task = self._open[event.stream]
            if isinstance(event, spdy.Reset):
                task.cancel()
                return
            if event.data:
                await connection.put(event.data)
            if event.fin:
                await connection.put(b"")

    async def _opened(self, event: spdy.Opened) -> None:
        kind, port = event.headers.get("streamtype"), event.headers.get("port", "")
        number = event.headers.get("requestid", "")
        known = kind == "error" or (kind == "data" and number in self._errors)
        if not known or not _is_port(port):
            await self._socket.send_bytes(spdy.reset(event.stream))
            return
        await self._socket.send_bytes(self._session.reply(event.stream))
        if kind == "error":
            self._errors[number] = event.stream
            return
        connection = _Connection(self._path, self._asked | {"port": int(port)})
        carrying = self._carry(connection, event.stream, self._errors.pop(number))
        self._open[event.stream] = connection, asyncio.create_task(carrying)

    async def _carry(self, connection: _Connection, stream: int, errors: int) -> None:
        async def send(content: bytes) -> None:
            await self._socket.send_bytes(spdy.data(stream, content))

        why = ""
        try:
            why = await connection.carry(send)
        finally:
            self._open.pop(stream, None)
            with suppress(ConnectionError):
                await self._socket.send_bytes(
                    spdy.data(errors, why.encode(), fin=True) + spdy.data(stream, b"", fin=True))


async def serve_channels(
    socket: web.WebSocketResponse, path: str, asked: Object, ports: Sequence[int],
) -> None:
    """Channels 2n (content) and 2n + 1 (errors) for the nth port, each begins with the port's number."""
    open_ports: list[tuple[_Connection, asyncio.Task[None]]] = []

    async def carry(connection: _Connection, channel: int, port: int) -> None:
        async def send(content: bytes) -> None:
            await socket.send_bytes(bytes([channel]) + content)

        head = struct.pack("<H", port)
        await send(head)
        await socket.send_bytes(bytes([channel + 1]) + head)
        if why := await connection.carry(send):
            await socket.send_bytes(bytes([channel + 1]) + why.encode())

    for number, port in enumerate(ports):
        connection = _Connection(path, asked | {"port": port})
        open_ports.append((connection, asyncio.create_task(carry(connection, 2 * number, port))))
    tasks = [task for _, task in open_ports]
    closing = asyncio.create_task(_close_after(tasks, socket))
    try:
        async for message in socket:
            content = message.data if message.type is WSMsgType.BINARY else b""
            if len(content) > 1 and not content[0] % 2 and content[0] // 2 < len(ports):
                await open_ports[content[0] // 2][0].put(content[1:])
    finally:
        for task in (closing, *tasks):
            task.cancel()
        await asyncio.gather(closing, *tasks, return_exceptions=True)


async def _close_after(tasks: Sequence[asyncio.Task[None]], socket: web.WebSocketResponse) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    await socket.close()


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def ports_of(values: Sequence[str]) -> list[int]:
    """The ports of a request's ``ports`` parameters, also several in one. Refused 400."""
    texts = [text for value in values for text in value.split(",")]
    if not texts:
        raise bad_request('query parameter "ports" is required')
    for text in texts:
        if not _is_port(text):
            raise bad_request(f'unable to parse "{text}" as a port: it must be 1 to 65535')
    return [int(text) for text in texts]
