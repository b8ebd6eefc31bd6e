"""The machine's side of the passive tap: starts its process, ends it, and says which port leads where."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.netns import kernel, plan, topology
from clusters.netns.hosts import Process
from clusters.netns.program import Program
from clusters.netns.rooms import last_lines

if TYPE_CHECKING:
    from clusters.netns.rooms import Rooms

Object = dict[str, Any]
_SECONDS = 5.0  # patience for the tap's process to begin, and to write what it has


class Tapping:
    """One tap at a time. ``silences`` are those of ``faults``: what comes to a dead port never enters."""

    def __init__(self, rooms: Rooms, silences: list[list[Any]]) -> None:
        self._rooms = rooms
        self._silences = silences
        self._end: socket.socket | None = None
        self._process: Process | None = None

    def answers(self) -> dict[str, Callable[[Object], Awaitable[Object]]]:
        """The questions of the control socket that are answered here."""
        return {"tap-start": self._start, "tap-stop": self._stop}

    async def _start(self, _question: Object) -> Object:
        if self._end is not None:
            raise ClusterError("the tap runs already; stop it first")
        rooms = self._rooms
        with kernel.in_network(rooms.network.switch):
            bridge = socket.if_nametoindex("br0")
        addresses = [node.address for node in rooms.nodes]
        mine, its = socket.socketpair()
        with its:
            self._process = rooms.host("control-plane").start(Program(
                python="clusters.netns.tap:main",
                args=(str(rooms.folder / "tap"), str(bridge), addresses[0], addresses[-1]),
                env=rooms.environment(), log=str(rooms.folder / "logs" / "tap"), net=True, fds=(3,),
            ), [rooms.network.switch, its.fileno()])
        mine.setblocking(False)
        self._end = mine
        async with asyncio.timeout(_SECONDS):
            said = await asyncio.get_running_loop().sock_recv(mine, 1)
        if said != b"r":
            self._close()
            raise ClusterError("the tap did not start; its last lines say why",
                               log=last_lines(rooms.folder / "logs" / "tap"))
        return {}

    async def _stop(self, _question: Object) -> Object:
        """Gives the file of frames, the place of each port number, and when ports were dead."""
        if self._end is None or self._process is None:
            raise ClusterError("the tap does not run; start it first")
        self._close()
        async with asyncio.timeout(_SECONDS):
            status = await self._process.wait()
        file = self._rooms.folder / "tap"
        if status or not file.exists():
            raise ClusterError(f"the tap ended with status {status}; its last lines say why",
                               log=last_lines(self._rooms.folder / "logs" / "tap"))
        taken = file.with_name(f"tap-{os.urandom(4).hex()}")
        file.rename(taken)
        lan = {"control-plane": plan.CONTROL_PLANE, "router": plan.ROUTER, "outside": plan.OUTSIDE}
        lan |= {node.name: node.address for node in self._rooms.nodes}
        ports = {str(topology.port_number(address)): name for name, address in lan.items()}
        return {"file": str(taken), "ports": ports, "silences": self._silences}

    def _close(self) -> None:
        if self._end is not None:
            self._end.close()
            self._end = None
