"""Programs on a host with the caller's own descriptors: outputs flow straight to them, nothing is collected.

A Unix socket of packets in the run folder. The caller sends one message, ``{"where", "argv", "term"}``, with
three descriptors beside it; the answer is ``{"status": N}`` or ``{"error": sentence}``. A caller that goes
away ends its program. With ``term`` set the descriptors are a terminal, which the program gets as its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clusters.base import ClusterError
from clusters.netns import wire
from clusters.netns.hosts import Process
from clusters.netns.program import Program

if TYPE_CHECKING:
    from clusters.netns.rooms import Rooms

NAME = "console"


class Console:
    """Listens in the run folder, which only its owner can enter."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def open(self, folder: Path) -> None:
        """Start listening."""
        self._listener.bind(str(folder / NAME))
        self._listener.listen(64)
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        with suppress(OSError):
            caller, _address = self._listener.accept()
            caller.setblocking(False)
            self._rooms.spawn(self._serve(caller))

    async def _serve(self, caller: socket.socket) -> None:
        with caller:
            await _readable(caller)
            fds: list[int] = []
            try:
                message, fds = wire.receive(caller)
                if message is None:
                    return
                process = self._start(message, fds)
            except ClusterError as error:
                _say(caller, {"error": str(error)})
                return
            except (OSError, ValueError, KeyError, TypeError) as error:
                _say(caller, {"error": f"{type(error).__name__}: {error}"})
                return
            finally:
                for fd in fds:
                    os.close(fd)
            await self._until_end(caller, process)

    def _start(self, message: wire.Message, fds: list[int]) -> Process:
        where, argv, term = str(message["where"]), tuple(message["argv"]), str(message.get("term") or "")
        if len(fds) != 3 or not argv:
            raise ValueError(f"{len(fds)} descriptors and {len(argv)} words; three and a command needed")
        environment = self._rooms.environment(**({"TERM": term} if term else {}))
        program = Program(argv=argv, env=environment, fds=(0, 1, 2), tty=bool(term))
        return self._rooms.host(where).start(program, fds)

    async def _until_end(self, caller: socket.socket, process: Process) -> None:
        leaving = asyncio.ensure_future(_readable(caller))  # it says nothing more: readable means gone
        ending = asyncio.ensure_future(process.wait())
        await asyncio.wait((leaving, ending), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not ending.done():
            with suppress(ClusterError):
                process.kill(signal.SIGKILL, everything=True)
        status = await ending
        _say(caller, {"status": status if status >= 0 else 128 - status})


async def _readable(caller: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(caller, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(caller)


def _say(caller: socket.socket, message: wire.Message) -> None:
    with suppress(OSError):
        wire.send(caller, message)
