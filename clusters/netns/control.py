"""The machine's control socket: one JSON object a line each way, an answer for every question.

The questions: hello, dial, place, provide, dead, exec, snapshot, down, and those of ``faults`` and of
``tapping``.
Only the owner of the run folder (mode 0700) reaches the socket.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.netns import plan, probing
from clusters.netns.console import Console
from clusters.netns.faults import Faults
from clusters.netns.hosts import Process, connect, run
from clusters.netns.images import Image, program_of
from clusters.netns.program import Program
from clusters.netns.provide import Provided
from clusters.netns.rooms import last_lines
from clusters.netns.tapping import Tapping

if TYPE_CHECKING:
    from clusters.netns.rooms import Rooms

VERSION = 1
_LONGEST_LINE = 64 * 1024 * 1024
_LISTENING = 10.0  # seconds for a placed program to listen; patience
_LOG_BYTES = 1 << 20  # of each log in a snapshot: its end
Object = dict[str, Any]


class Control:
    """Answers the judge, each connection on its own."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._provided = Provided(rooms)
        self._placed: dict[str, Process] = {}
        self._server: asyncio.Server | None = None
        self._answers: dict[str, Callable[[Object], Awaitable[Object]]] = {
            "hello": self._hello, "place": self._place, "provide": self._provide, "dead": self._dead,
            "exec": self._exec, "snapshot": self._snapshot, "down": self._down,
            "remove": self._remove,
        }
        self._faults = Faults(rooms, self._provided)
        self._answers |= self._faults.answers() | Tapping(rooms, self._faults.silences).answers()

    async def open(self, path: Path) -> None:
        """Start answering on the Unix socket ``path``."""
        self._server = await asyncio.start_unix_server(
            self._talk, path, limit=_LONGEST_LINE, backlog=1024)
        Console(self._rooms).open(path.parent)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                fd = -1
                try:
                    question = json.loads(line)
                    if question.get("op") == "dial":
                        fd = (await self._dial(question)).detach()
                        answer: Object = {}
                    else:
                        answer = await self._answer(question)
                    answer = {"ok": True, **answer}
                except ClusterError as error:
                    answer = {"ok": False, "error": str(error), "log": list(error.log)}
                except (OSError, ValueError, KeyError, TypeError) as error:
                    answer = {"ok": False, "error": f"{type(error).__name__}: {error}", "log": []}
                await _send(writer, answer, fd)
        writer.close()

    async def _answer(self, question: Object) -> Object:
        found = self._answers.get(question.get("op", ""))
        if found is None:
            raise ClusterError(f"unknown question {question.get('op')!r}; this machine (protocol {VERSION}) "
                               f"answers {', '.join(['dial', *self._answers])}")
        return await found(question)

    async def _hello(self, _question: Object) -> Object:
        rooms = self._rooms
        return {
            "version": VERSION, "kubeconfig": str(rooms.folder / "kubeconfig"), "timings": rooms.timings,
            "nodes": [{"name": n.name, "addresses": list(n.addresses), "podCIDRs": list(n.pod_cidrs)}
                      for n in rooms.nodes],
            "places": {name: plan.of_families(address, rooms.network.dual) for name, address in
                       (("outside", plan.OUTSIDE), ("behind-router", plan.FAR_HOST))},
            "hosts": {name: host.pid for name, host in rooms.hosts.items()},
        }

    async def _dial(self, question: Object) -> socket.socket:
        """A TCP connection made in the network of a host or pod; ``host`` empty: the pod's own address."""
        where, port, timeout = question["where"], int(question["port"]), float(question["timeout"])
        address = question.get("host") or "127.0.0.1"
        if where.startswith("pod:"):
            pod = self._rooms.kubelet.find(*_pod_name(where))
            if pod.network.fd < 0:
                raise ClusterError(f"pod {pod.name} has no network yet; wait until it runs")
            return await connect(pod.network.fd, address, port, timeout)
        return await connect(self._rooms.host(where).network, address, port, timeout)

    async def _place(self, question: Object) -> Object:
        """Run a program on a host that is no node; one of the same name is ended first."""
        place, name = question["place"], question["name"]
        host = self._rooms.host(place)
        folder = self._rooms.folder / "placed" / _plain(name)
        folder.mkdir(parents=True, exist_ok=True)
        await self._end_placed(name)
        for file, text in question["files"].items():
            (folder / _plain(file)).write_bytes(base64.b64decode(text))
        python, words = program_of(Image("python"), question["argv"], ())
        self._placed[name] = process = host.start(Program(
            argv=() if python else words, python=python, args=words if python else (), cwd=str(folder),
            env=self._rooms.environment(), log=str(self._rooms.folder / "logs" / f"placed-{_plain(name)}"),
        ))
        await process.started
        if port := int(question.get("port") or 0):
            await self._listening(process, host.network, port, f"{name} at {place}")
        return {}

    async def _remove(self, question: Object) -> Object:
        """End a placed program and remove its folder; one that is not there needs nothing."""
        await self._end_placed(question["name"])
        shutil.rmtree(self._rooms.folder / "placed" / _plain(question["name"]), ignore_errors=True)
        return {}

    async def _end_placed(self, name: str) -> None:
        if (old := self._placed.pop(name, None)) and not old.ended.done():
            old.kill(signal.SIGKILL, everything=True)
            await old.wait()

    async def _listening(self, process: Process, network: int, port: int, who: str) -> None:
        """Wait until a placed program listens; ClusterError with its last lines when it does not."""
        end = time.monotonic() + _LISTENING
        while not await probing.tcp_answers(network, "127.0.0.1", port, 1.0):
            log = last_lines(self._rooms.folder / "logs" / f"placed-{who.partition(' ')[0]}")
            if process.ended.done():
                raise ClusterError(f"{who} ended with status {process.ended.result()} before it listened on "
                                   f"port {port}; its last lines say why", log=log)
            if time.monotonic() > end:
                raise ClusterError(f"{who} does not listen on port {port} after {_LISTENING:g} s", log=log)
            await asyncio.sleep(0.005)

    async def _provide(self, question: Object) -> Object:
        await self._provided.start(question["implementation"])
        return {}

    async def _dead(self, _question: Object) -> Object:
        return {"dead": self._faults.lost() + self._provided.dead() + self._rooms.own.dead()}

    async def _exec(self, question: Object) -> Object:
        argv, timeout = tuple(question["argv"]), float(question["timeout"])
        stdin = str(question.get("stdin") or "").encode()
        where = question["where"]
        if where.startswith("pod:"):
            pod = self._rooms.kubelet.find(*_pod_name(where))
            if not pod.containers:
                raise ClusterError(f"pod {pod.name} has not started yet")
            status, output, error = await pod.containers[0].execute(argv, timeout, stdin)
        else:
            program = Program(argv=argv, env=self._rooms.environment())
            status, output, error = await run(
                self._rooms.host(where), program, timeout=timeout, stdin=stdin)
        return {"status": status, "output": output, "error": error}

    async def _snapshot(self, question: Object) -> Object:
        """Rules, connection tracking and logs of a node; what a tool could not say stands in its text."""
        host = self._rooms.host(self._rooms.node(question["node"]).name)
        tools = {
            "iptables-save": ("iptables-save", "-c"), "nft": ("nft", "list", "ruleset"),
            "conntrack": ("conntrack", "-L"),
        }
        program = {name: Program(argv=argv, env=self._rooms.environment()) for name, argv in tools.items()}
        done = await asyncio.gather(*(run(host, one, timeout=20) for one in program.values()))
        texts = {
            name: output if status == 0 else f"{output}# {' '.join(tools[name])}: status {status}: {error}"
            for name, (status, output, error) in zip(tools, done, strict=True)
        }
        for name, path in self._provided.logs(host.name).items():
            texts[f"log/{name}"] = _end_of(path)
        return {"texts": texts}

    async def _down(self, _question: Object) -> Object:
        asyncio.get_running_loop().call_later(0.005, os._exit, 0)  # the kernel ends everything else
        return {}


def _pod_name(where: str) -> tuple[str, str]:
    namespace, slash, name = where.removeprefix("pod:").partition("/")
    if not slash:
        raise ClusterError(f"{where!r}: write pod:NAMESPACE/NAME")
    return namespace, name


def _plain(name: str) -> str:
    """A name that stays in its folder; ClusterError when it would not."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ClusterError(f"{name!r} cannot be a file name; use letters, digits, dots and dashes")
    return name


def _end_of(path: Path) -> str:
    with suppress(OSError), path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
        return log.read().decode(errors="replace")
    return ""


async def _send(writer: asyncio.StreamWriter, answer: Object, fd: int) -> None:
    """Send an answer line, with a descriptor beside it if there is one."""
    data = json.dumps(answer).encode() + b"\n"
    if fd < 0:
        writer.write(data)
        await writer.drain()
        return
    try:
        await writer.drain()
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as plain:
            socket.send_fds(plain, [data], [fd])
    finally:
        os.close(fd)
