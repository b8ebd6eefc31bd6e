"""The machine's side of the host inits: start programs on hosts, hear of their ends, make sockets there."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from clusters.base import ClusterError
from clusters.netns import kernel, wire
from clusters.netns.program import Program

_numbers = itertools.count(1)


class Process:
    """A program that was started on a host."""

    def __init__(self, host: Host, number: str) -> None:
        self.host = host
        self.number = number
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()  # its process number on the host
        self.ended: asyncio.Future[int] = loop.create_future()  # exit status, -N for signal N

    async def wait(self) -> int:
        """Its exit status, when it has ended (minus the number of the signal that killed it)."""
        return await asyncio.shield(self.ended)

    def kill(self, number: int, *, everything: bool = False) -> None:
        """Send a signal; with ``everything`` to all processes of its group."""
        self.host.order({"op": "kill", "id": self.number, "signal": number, "all": everything})


class Host:
    """One host: its network namespace, and its init when there is one."""

    def __init__(self, name: str, network: int) -> None:
        self.name = name
        self.network = network
        self.pid = 0  # of its init, as the machine sees it; 0: not forked yet
        self.alive = True
        self.forked = asyncio.Event()
        self._mine, self._its = wire.pair()
        self._mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._running: dict[str, Process] = {}
        self._preloaded: list[asyncio.Future[None]] = []
        self._signalled: list[asyncio.Future[tuple[list[int], float]]] = []
        self.gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._mine, self._hear)

    def ask_for(self, zygote: socket.socket) -> None:
        """Have the zygote fork this host's init; ClusterError when it has ended."""
        try:
            wire.send(zygote, {"op": "host", "name": self.name}, [self._its.fileno(), self.network])
        except OSError as error:
            raise ClusterError("the process that hosts are forked from has ended: no host can be started any "
                               "more; end this cluster and raise another") from error
        finally:
            self._its.close()

    def order(self, message: wire.Message, fds: Sequence[int] = ()) -> None:
        """Send an order to the init; ClusterError when the host is dead."""
        try:
            if not self.alive:
                raise BrokenPipeError
            wire.send(self._mine, message, fds)
        except OSError as error:
            raise ClusterError(f"host {self.name} is down: nothing can be started or ended there") from error
        except ValueError as error:
            raise ClusterError(f"host {self.name}: {error}") from error

    def start(self, program: Program, fds: Sequence[int] = ()) -> Process:
        """Start a program; ``fds`` go with it (first the network, if ``program.net``), still the caller's."""
        process = Process(self, f"p{next(_numbers)}")
        self._running[process.number] = process
        try:
            self.order({"op": "spawn", "id": process.number, "program": program.to_json()}, fds)
        except ClusterError:
            del self._running[process.number]
            raise
        return process

    async def preload(self, names: Sequence[str]) -> None:
        """Have the init import modules, so that what is forked from now on has them."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.order({"op": "preload", "names": list(names)})
        self._preloaded.append(done)
        await done

    async def signal(self, pids: Sequence[int], number: int) -> tuple[list[int], float]:
        """Signal processes of this host, their sessions and descendants; gives which, and when it was done.

        The time is CLOCK_MONOTONIC, which is one for the whole machine.
        """
        done: asyncio.Future[tuple[list[int], float]] = asyncio.get_running_loop().create_future()
        self.order({"op": "signal", "pids": list(pids), "signal": number})
        self._signalled.append(done)
        return await done

    def clear(self, network: int) -> None:
        """SIGKILL to everything on this host that is in the network namespace of the descriptor."""
        self.order({"op": "clear", "network": os.fstat(network).st_ino})

    def _hear(self) -> None:
        """One report of the init, or its end."""
        try:
            message, _fds = wire.receive(self._mine)
        except ConnectionError:
            message = None
        if message is None:
            self._gone()
        elif message["event"] == "started":
            self._running[message["id"]].started.set_result(message["pid"])
        elif message["event"] == "exit":
            process = self._running.pop(message["id"])
            process.ended.set_result(message["status"])
        elif message["event"] == "preloaded":
            _answer(self._preloaded.pop(0), None)
        elif message["event"] == "signalled":
            _answer(self._signalled.pop(0), (message["pids"], message["at"]))

    def _gone(self) -> None:
        """The init is dead, and the kernel has ended everything on the host with it."""
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._mine)
        self._mine.close()
        for process in self._running.values():
            process.ended.set_result(-9)
            if not process.started.done():
                process.started.set_result(0)
        waits: list[asyncio.Future[Any]] = [*self._preloaded, *self._signalled]
        for waiting in waits:
            if not waiting.done():
                waiting.set_exception(ClusterError(f"host {self.name} is down"))
        self._running.clear()
        self.gone.set()


def _answer(waiting: asyncio.Future[Any], value: Any) -> None:
    """Answer one who waits, unless it has been cancelled meanwhile."""
    if not waiting.done():
        waiting.set_result(value)


def socket_in(network: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """An unconnected, non-blocking IPv4 socket in the network namespace of a descriptor."""
    with kernel.in_network(network):
        made = socket.socket(socket.AF_INET, kind)
    made.setblocking(False)
    return made


async def connect(network: int, address: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection made in a network namespace; ClusterError says why there is none."""
    made = socket_in(network)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException as error:
        made.close()
        if isinstance(error, TimeoutError):
            raise ClusterError(f"{address}:{port} did not answer within {timeout:g} s") from error
        if isinstance(error, OSError):
            raise ClusterError(f"{address}:{port}: {os.strerror(error.errno or 0)}") from error
        raise
    return made


async def run(
    host: Host, program: Program, fds: Sequence[int] = (), *, timeout: float, stdin: bytes = b"",
) -> tuple[int, str, str]:
    """Run a program to its end; gives status, output, error output (status 124 when out of time)."""
    loop = asyncio.get_running_loop()
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    mine = [pipes[0][1], pipes[1][0], pipes[2][0]]
    try:
        asked = Program(**{**vars(program), "fds": (*program.fds, 0, 1, 2)})
        process = host.start(asked, [*fds, *theirs])
    except BaseException:
        for fd in mine:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    feeding = loop.run_in_executor(None, _feed, mine[0], stdin)
    texts = bytearray(), bytearray()
    reading = [asyncio.create_task(_read_all(fd, text)) for fd, text in zip(mine[1:], texts, strict=True)]
    late = ""
    try:
        async with asyncio.timeout(timeout):
            status = await process.wait()
            await asyncio.wait(reading)  # what it left running may still hold the pipes
    except TimeoutError:
        status, late = 124, f"\n{' '.join(program.argv)}: no end within {timeout:g} s"
        with suppress(ClusterError):
            process.kill(9, everything=True)
            await process.wait()
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(feeding, *reading, return_exceptions=True)
    return status, texts[0].decode(errors="replace"), texts[1].decode(errors="replace") + late


def _feed(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as pipe, suppress(OSError):
        pipe.write(data)


async def _read_all(fd: int, into: bytearray) -> None:
    """Read a pipe to its end; what was read until then is in ``into`` when this is cancelled."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe,
    )
    try:
        while part := await reader.read(65536):
            into += part
    finally:
        transport.close()


def base_environment(run: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment every program in the cluster starts from: nothing of the judge's own leaks in."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        "PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "SERVICE_CONFORMANCE_RUN": run, **extra,
    }
