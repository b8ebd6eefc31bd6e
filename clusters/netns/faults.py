"""Breaking the cluster on purpose: cables, power, processes. Every act gives CLOCK_MONOTONIC just after it.

A cable is cut at the switch, over a netlink socket that is open already: no program is started and nothing
is imported, so the act takes well under a millisecond (a started program once cost 0.175 s of a measurement).
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.netns import kernel, topology
from clusters.netns.rtnetlink import Route

if TYPE_CHECKING:
    from clusters.netns.provide import Provided
    from clusters.netns.rooms import Rooms

Object = dict[str, Any]
_CARRIER_SECONDS = 2.0  # patience for a carrier to come back; it takes a millisecond
_END_SECONDS = 5.0  # patience for the kernel to end what was killed


class Faults:
    """What is broken at the moment, and the acts."""

    def __init__(self, rooms: Rooms, provided: Provided) -> None:
        self._rooms = rooms
        self._provided = provided
        with kernel.in_network(rooms.network.switch):
            self._switch = Route()
        self._cut: set[str] = set()
        self._dead: set[str] = set()
        self._paused: set[str] = set()
        self.silences: list[list[Any]] = []  # [place, since, until]: when its port let nothing in

    def answers(self) -> dict[str, Callable[[Object], Awaitable[Object]]]:
        """The questions of the control socket that are answered here."""
        return {"cut": self._cut_link, "heal": self._heal_link, "kill": self._kill_node,
                "revive": self._revive_node, "pause": self._pause_node, "resume": self._resume_node,
                "broken": self._broken, "signal": self._signal, "restart": self._restart}

    def lost(self) -> list[str]:
        """A sentence for each host whose init has ended, and nobody took its power."""
        return [f"the init of {name} ended by itself, and everything on that host with it"
                for name, host in self._rooms.hosts.items() if host.gone.is_set() and name not in self._dead]

    async def _cut_link(self, question: Object) -> Object:
        """Silently, by the switch's port alone; or with the carrier, as when the cable is pulled."""
        place = self._living(question["place"])
        index = self._port(place)
        if question["silently"]:
            self._port_alive(place, False)
        else:
            self._switch.cable(index, plugged=False)
        at = time.monotonic()
        if place not in self._cut:
            self.silences.append([place, at, math.inf])
        self._cut.add(place)
        self._tell_kubelet()
        return {"at": at}

    async def _heal_link(self, question: Object) -> Object:
        place = self._living(question["place"])
        index = self._port(place)
        at = time.monotonic()
        if place in self._cut:
            self._switch.cable(index, plugged=True)
            end = at + _CARRIER_SECONDS
            while not self._port_alive(place, True):
                if time.monotonic() > end:
                    raise ClusterError(f"{place}: no carrier {_CARRIER_SECONDS:g} s after the heal")
                await asyncio.sleep(0.001)
            at = time.monotonic()
            self._heard_again(place, at)
            self._cut.discard(place)
        self._reconnect()
        return {"at": at}

    async def _kill_node(self, question: Object) -> Object:
        """First the port, so that no dying process says goodbye; then the init, and all with it."""
        node = self._rooms.node(question["node"]).name
        host = self._rooms.host(node)
        if node in self._dead:
            return {"at": time.monotonic()}
        await host.forked.wait()
        if node not in self._cut:
            self._port_alive(node, False)
            self.silences.append([node, time.monotonic(), math.inf])
        self._provided.lost(node)
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(host.pid, signal.SIGKILL)
        at = time.monotonic()
        self._dead.add(node)
        self._paused.discard(node)
        self._tell_kubelet()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await host.gone.wait()
        except TimeoutError as error:
            raise ClusterError(f"{node}: its init lives {_END_SECONDS:g} s after SIGKILL") from error
        return {"at": at}

    async def _revive_node(self, question: Object) -> Object:
        """A new kernel state, a new init, the pods again, the implementation's commands again."""
        node = self._rooms.node(question["node"])
        if node.name not in self._dead:
            return {"at": time.monotonic()}
        topology.rebuild(self._rooms.network, self._rooms.nodes, node)
        at = time.monotonic()
        self._heard_again(node.name, at)
        self._dead.discard(node.name)
        self._cut.discard(node.name)
        self._rooms.raise_host(node.name)
        self._rooms.plane.node_up(node.name)
        await self._rooms.network_plugin(node)
        self._reconnect(rebooted=node.name)
        await self._provided.revive(node.name)
        return {"at": at}

    async def _pause_node(self, question: Object) -> Object:
        """The init first, so that nothing is started any more; then what it and its children have started."""
        node = self._living(self._rooms.node(question["node"]).name)
        host = self._rooms.host(node)
        await host.forked.wait()
        held: set[int] = set()
        while new := {host.pid, *descendants(host.pid)} - held:
            _send(new, signal.SIGSTOP)
            held |= new
        at = time.monotonic()
        self._paused.add(node)
        self._tell_kubelet()
        return {"at": at}

    async def _resume_node(self, question: Object) -> Object:
        node = self._living(self._rooms.node(question["node"]).name)
        host = self._rooms.host(node)
        if node in self._paused:
            _send({*descendants(host.pid), host.pid}, signal.SIGCONT)
            self._paused.discard(node)
        at = time.monotonic()
        self._reconnect()
        return {"at": at}

    async def _broken(self, _question: Object) -> Object:
        """What is wrong with each place, the worst of it."""
        states = (("cut off", self._cut), ("paused", self._paused), ("without power", self._dead))
        return {"broken": {place: what for what, places in states for place in sorted(places)}}

    async def _signal(self, question: Object) -> Object:
        place, command, number = question["place"], question["command"], int(question["signal"])
        if not 1 <= number < signal.NSIG:
            raise ClusterError(f"{number} is no signal; signals are 1 to {signal.NSIG - 1}")
        if place == "control-plane" and command in self._rooms.own:
            return {"at": await self._rooms.own.signal(command, number)}
        return {"at": await self._provided.signal(self._running(place), command, number)}

    async def _restart(self, question: Object) -> Object:
        place, command = question["place"], question["command"]
        if place == "control-plane" and command in self._rooms.own:
            return {"at": await self._rooms.own.restart(command)}
        return {"at": await self._provided.restart(self._running(place), command)}

    def _living(self, place: str) -> str:
        self._rooms.host(place)
        if place in self._dead:
            raise ClusterError(f"{place} is dead; revive it first")
        return place

    def _running(self, place: str) -> str:
        """A place whose processes can act: one that stands still would never answer."""
        if place in self._paused:
            raise ClusterError(f"{place} is paused; resume it first")
        return self._living(place)

    def _port(self, place: str) -> int:
        """The index of a place's port on the switch."""
        ports = self._rooms.network.ports
        if place not in ports:
            raise ClusterError(f"{place} has no cable to the switch; those that have one: {', '.join(ports)}")
        return ports[place]

    def _port_alive(self, place: str, alive: bool) -> bool:
        """Set the state of a place's port; False when it has no carrier, and so lets nothing pass anyway."""
        try:
            self._switch.port(self._port(place), alive=alive)
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            return False
        return True

    def _heard_again(self, place: str, at: float) -> None:
        for silence in self.silences:
            if silence[0] == place:
                silence[2] = min(silence[2], at)

    def _unreachable(self) -> set[str]:
        """The nodes from which no way leads to the API server."""
        nodes = {node.name for node in self._rooms.nodes}
        return nodes if "control-plane" in self._cut else nodes & (self._cut | self._dead | self._paused)

    def _tell_kubelet(self) -> None:
        for node in self._unreachable():
            self._rooms.kubelet.cut_off(node)

    def _reconnect(self, rebooted: str = "") -> None:
        lost = self._unreachable()
        for node in self._rooms.nodes:
            if node.name not in lost:
                self._rooms.kubelet.back(node.name, rebooted=node.name == rebooted)


def descendants(pid: int) -> list[int]:
    """The processes that ``pid`` and its children have started and that are still there, at any depth."""
    found: list[int] = []
    with suppress(OSError):  # it has ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children = (thread / "children").read_text().split()
            found += [one for child in children for one in (int(child), *descendants(int(child)))]
    return found


def _send(pids: set[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
