"""The kubelet's socket: logs, exec, attach, port-forward for the API server (``clusters.apiserver.kubelet``).

The texts of refusals are those of Kubernetes' kubelet (1.36) where it has the same to say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from clusters.apiserver.kubelet import CLOSE, END, LONGEST_LINE, RESIZE, STDERR, STDIN, STDOUT, Stream
from clusters.apiserver.status import Refused, bad_request
from clusters.base import ClusterError
from clusters.netns import containerlog
from clusters.netns.hosts import connect
from clusters.netns.programio import ProgramIO

if TYPE_CHECKING:
    from clusters.netns.containerrun import ContainerRun
    from clusters.netns.kubelet import Kubelet
    from clusters.netns.podrun import PodRun

Object = dict[str, Any]
_BLOCK = 64 * 1024  # bytes of a forwarded connection read at once
_ENOUGH = 1 << 20  # bytes a slow reader may be behind before the program has to wait
_PATIENCE = 10.0  # seconds for a forwarded port to answer
_PORT = 10250  # where Kubernetes' kubelet listens; named in what is said of a node that is not reached


def refused(code: int, reason: str, words: str) -> Refused:
    """A refusal in the kubelet's words."""
    return Refused(code, reason, words)


class Streaming:
    """Answers the API server, each request on a connection of its own."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._answers: dict[str, Callable[[Object, Stream], Awaitable[None]]] = {
            "logs": self._logs, "exec": self._exec, "attach": self._attach, "portforward": self._port_forward,
        }

    async def open(self, path: Path) -> None:
        """Start answering on the Unix socket ``path``."""
        await asyncio.start_unix_server(self._talk, path, limit=LONGEST_LINE, backlog=256)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = Stream(reader, writer)
        try:
            asked = msgspec.json.decode(await reader.readline())
            await self._answers[asked["op"]](asked, stream)
        except Refused as no:
            _say(stream, {"ok": False, "code": no.code, "reason": no.reason, "error": no.message})
        except ConnectionError:
            pass
        except (ClusterError, OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
            words = f"{type(error).__name__}: {error}"
            _say(stream, {"ok": False, "code": 500, "reason": "InternalError", "error": words})
        finally:
            for talks in self._kubelet.talks.values():
                talks.discard(writer)
            with suppress(ConnectionError):
                await writer.drain()
            writer.close()

    def _pod(self, asked: Object, stream: Stream) -> PodRun:
        """The pod a request is about. Refused: no node has it, or its node is not reached."""
        try:
            pod = self._kubelet.find(asked["namespace"], asked["pod"], closing=True)
        except ClusterError:
            raise refused(404, "NotFound", f'pods "{asked["pod"]}" not found') from None
        if not self._kubelet.reaches[pod.node.name].is_set():
            where = f"{pod.node.address}:{_PORT}"
            raise refused(500, "InternalError",
                          f"error dialing backend: dial tcp {where}: connect: no route to host")
        self._kubelet.talks[pod.node.name].add(stream.writer)
        return pod

    def _running(self, asked: Object, stream: Stream) -> ContainerRun:
        """The container a request is about, which runs. Refused 500 as the kubelet does."""
        name = asked["container"]
        for container in self._pod(asked, stream).containers:
            if container.spec["name"] == name and container.io is not None and container.state.running:
                return container
        raise refused(500, "InternalError", f'unable to upgrade connection: container not found ("{name}")')

    async def _logs(self, asked: Object, stream: Stream) -> None:
        name, pod = asked["container"], self._pod(asked, stream)
        container = next((one for one in pod.containers if one.spec["name"] == name), None)
        state, previous = container.state if container else None, bool(asked["previous"])
        if (why := containerlog.refusal(state, name, asked["pod"], previous=previous)) or container is None:
            raise bad_request(why)
        if container.io is not None:
            container.io.drain()
        since = asked["since"]
        wanted = containerlog.Wanted(
            tail=asked["tail"], limit=asked["limit"], timestamps=bool(asked["timestamps"]),
            since="" if since is None else containerlog.stamp(time.time_ns() - int(since * 1e9)),
        )
        path, log = container.log_of(previous=previous)
        _say(stream, {"ok": True})
        follow = log if asked["follow"] else None
        await _until_left(stream, _write_log(stream, containerlog.read(path, wanted, follow)))

    async def _exec(self, asked: Object, stream: Stream) -> None:
        container = self._running(asked, stream)
        io = ProgramIO(tty=bool(asked["tty"]), stdin=bool(asked["stdin"]))
        try:
            process = await container.spawn(tuple(asked["command"]), io)
            _say(stream, {"ok": True})
            status = await _converse(stream, io, asked, process.wait())
            if status is None:
                with suppress(ClusterError):
                    process.kill(9, everything=True)  # nobody is left to end it
                return
            # What the command wrote last stands before its end; a child that it left may hold the outputs.
            io.drain()
            await _send(stream, END, {"status": status if status >= 0 else 128 - status})
        finally:
            io.close()

    async def _attach(self, asked: Object, stream: Stream) -> None:
        container = self._running(asked, stream)
        io = container.io
        assert io is not None
        _say(stream, {"ok": True})
        ended = await _converse(stream, io, asked, _end_of(io))
        if asked["stdin"] and container.spec.get("stdinOnce") and not io.tty:
            io.end_of_input()
        if ended is not None:
            await _send(stream, END, {"status": 0})

    async def _port_forward(self, asked: Object, stream: Stream) -> None:
        pod, port = self._pod(asked, stream), int(asked["port"])
        number = pod.pod["metadata"]["uid"]
        try:
            if pod.network.fd < 0:
                raise ClusterError("the pod has no network yet")
            made = await connect(pod.network.fd, "127.0.0.1", port, _PATIENCE)
        except ClusterError as error:
            words = str(error).removeprefix(f"127.0.0.1:{port}: ").lower()
            raise refused(500, "InternalError", (
                f"error forwarding port {port} to pod {number}, uid : failed to execute portforward in "
                f'network namespace "{number}": failed to connect to localhost:{port} inside namespace '
                f'"{number}", '
                f"IPv4: dial tcp4 127.0.0.1:{port}: connect: {words}")) from None
        _say(stream, {"ok": True})
        there, its = await asyncio.open_connection(sock=made)
        try:
            await asyncio.gather(_copy(stream.reader, its), _copy(there, stream.writer))
        finally:
            its.close()


def _say(stream: Stream, answer: Object) -> None:
    stream.writer.write(msgspec.json.encode(answer) + b"\n")


async def _send(stream: Stream, channel: int, told: Object) -> None:
    with suppress(ConnectionError):
        await stream.send(channel, msgspec.json.encode(told))


async def _end_of(io: ProgramIO) -> int:
    await io.ended.wait()
    return 0


async def _write_log(stream: Stream, texts: Any) -> None:
    async for text in texts:
        stream.writer.write(text)
        await stream.writer.drain()


async def _until_left(stream: Stream, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done or the API server closes the connection."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(stream.reader.read(1))
    await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, leaving):
        task.cancel()
    await asyncio.gather(working, leaving, return_exceptions=True)


async def _converse(
    stream: Stream, io: ProgramIO, asked: Object, end: Coroutine[Any, Any, int],
) -> int | None:
    """Carry what is typed and what is written until the ``end``; gives it, or None when the client left."""
    holding: list[asyncio.Task[None]] = []
    wanted = {number for number, name in ((STDOUT, "stdout"), (STDERR, "stderr")) if asked[name]}

    async def catch_up() -> None:
        try:
            await stream.writer.drain()
        except ConnectionError:
            pass
        finally:
            holding.clear()
            io.go_on()

    def write(number: int, data: bytes) -> None:
        if data and number in wanted and not stream.writer.is_closing():
            stream.put(number, data)
            if stream.writer.transport.get_write_buffer_size() > _ENOUGH and not holding:
                io.hold()
                holding.append(asyncio.create_task(catch_up()))

    io.hearers.append(write)
    ending, hearing = asyncio.ensure_future(end), asyncio.ensure_future(_hear(stream, io))
    try:
        await asyncio.wait((ending, hearing), return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            return None
        io.drain()
        return ending.result()
    finally:
        io.hearers.remove(write)
        for task in (ending, hearing, *holding):
            task.cancel()
        await asyncio.gather(ending, hearing, *holding, return_exceptions=True)


async def _hear(stream: Stream, io: ProgramIO) -> None:
    """What the client types, until it leaves."""
    while (found := await stream.frame()) is not None:
        channel, data = found
        if channel == STDIN and io.stdin:
            await io.write(data)
        elif channel == RESIZE:
            with suppress(msgspec.DecodeError, KeyError, TypeError):
                size = msgspec.json.decode(data)
                io.resize(int(size["Width"]), int(size["Height"]))
        elif channel == CLOSE and data == bytes([STDIN]):
            io.end_of_input()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """One direction of a forwarded connection, and its end."""
    with suppress(ConnectionError):
        while data := await source.read(_BLOCK):
            target.write(data)
            await target.drain()
    with suppress(OSError):
        target.write_eof()
