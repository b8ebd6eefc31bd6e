"""The embedded cluster as the judge sees it: one object that starts, asks and ends the machine."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from clusters.base import ClusterError, Command, Frame, Implementation, Node, Workload
from clusters.netns import conversation, launch, plan, runfolder, tap

_ASK = 10.0  # seconds for an answer that needs no waiting; patience
_LISTEN = 20.0  # seconds for a placed program to listen; patience
_PROVIDE = 30.0  # seconds on top of the longest ready-seconds
_RESTART = 90.0  # seconds for a real API server to end and to stand again; patience
_DOWN = 0.6  # seconds for a machine to end by itself before it is killed


class NetnsWorkload:
    """A control port inside the cluster, reached by a socket made in its own network namespace."""

    def __init__(self, control: Path, name: str, place: str, where: str, port: int) -> None:
        self.name = name
        self.place = place
        self._control, self._where, self._port = control, where, port

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, timeout: float,
    ) -> tuple[int, bytes]:
        """Send one HTTP/1.1 request without a body; gives status and body.

        Raises ClusterError when the workload cannot be reached or does not answer in ``timeout`` seconds.
        """
        question = {"op": "dial", "where": self._where, "host": "", "port": self._port, "timeout": timeout}
        who = f"{self.name} ({self._where}, port {self._port})"
        try:
            async with asyncio.timeout(timeout):
                _answer, fd = await conversation.ask(self._control, question, timeout=timeout + 1)
                made = socket.socket(fileno=fd)
                made.setblocking(False)
                host = f"{self.name}:{self._port}"
                return await conversation.http(made, method, path, headers or {}, host)
        except TimeoutError as error:
            raise ClusterError(f"{who}: no answer to {method} {path} within {timeout:g} s") from error
        except (OSError, ValueError, EOFError) as error:
            raise ClusterError(f"{who}: {method} {path}: {error}; its log may say more") from error


class NetnsCluster:
    """A running embedded cluster. Powers: all of ``clusters.base``."""

    places = ("outside", "behind-router")
    act_seconds = 0.0  # about a millisecond
    restart_seconds = 1.6
    icmp_pause = 0.0  # the topology lifts the kernel's limit

    def __init__(self, url: str, options: plan.Options) -> None:
        self.url = url
        self.options = options
        self.namespace = "default" if options.seed else None
        self.timings: dict[str, float] = {}  # step -> seconds since locate() was called
        self.kubeconfig = Path()
        self.run = ""
        self._folder: runfolder.RunFolder | None = None
        self._machine: launch.Machine | None = None
        self._nodes: list[Node] = []
        self._patience = _PROVIDE  # seconds for commands to be ready
        self._hosts: dict[str, int] = {}
        self._addresses: dict[str, tuple[str, ...]] = {}

    @classmethod
    async def start(cls, url: str, *, preload: Sequence[str] = ()) -> NetnsCluster:
        """Raise a cluster; ``preload`` names modules of the implementation that will run in it.

        Raises ClusterError, and leaves nothing behind, when it cannot be raised.
        """
        asked = time.time()
        cluster = cls(url, plan.parse(url))
        launch.require_tools()
        try:
            cluster._folder = runfolder.make()
            cluster.run = cluster._folder.run
            cluster._machine = launch.Machine(cluster._folder)
            await cluster._machine.start(cluster.options, preload, asked)
            await cluster._learn()
        except BaseException:
            await cluster.close()
            raise
        cluster.timings["located"] = round(time.time() - asked, 4)
        return cluster

    async def _learn(self) -> None:
        hello, _fd = await conversation.ask(self._control, {"op": "hello"}, timeout=_ASK)
        self.kubeconfig = Path(hello["kubeconfig"])
        self.timings = dict(hello["timings"])
        self._hosts = hello["hosts"]
        self._addresses = {name: tuple(found) for name, found in hello["places"].items()}
        self._nodes = [Node(n["name"], tuple(n["addresses"]), tuple(n["podCIDRs"])) for n in hello["nodes"]]

    @property
    def _control(self) -> Path:
        if self._folder is None:
            raise ClusterError("this cluster is closed; start another")
        return self._folder.path / "control"

    @property
    def machine_pid(self) -> int:
        """The process whose end is the cluster's end; 0 when it is closed."""
        return self._machine.pid if self._machine is not None else 0

    async def nodes(self) -> list[Node]:
        """The nodes, in order: the master first."""
        return list(self._nodes)

    def pod(self, namespace: str, name: str, port: int) -> Workload:
        """The control port ``port`` of a running pod."""
        where = f"pod:{namespace}/{name}"
        return NetnsWorkload(self._control, f"{namespace}/{name}", where, where, port)

    async def close(self) -> None:
        """End the machine and with it every process, namespace and rule; remove the run folder."""
        machine, self._machine = self._machine, None
        folder, self._folder = self._folder, None
        if folder is not None:
            # In one piece: a second Ctrl-C must not leave half a cluster behind.
            await asyncio.shield(asyncio.create_task(_end(machine, folder)))

    async def place_outside(
        self, place: str, name: str, files: Mapping[str, bytes], argv: Sequence[str], port: int,
    ) -> Workload:
        """Run ``argv`` in a folder with ``files`` at ``outside`` or ``behind-router``.

        Gives the workload once its control port listens; ClusterError with its last lines when it does not.
        """
        if place not in self.places:
            raise ClusterError(f"there is no place {place!r}; the places are {', '.join(self.places)}")
        coded = {file: base64.b64encode(data).decode() for file, data in files.items()}
        await self._ask({"op": "place", "place": place, "name": name, "files": coded,
                         "argv": list(argv), "port": port}, _LISTEN)
        return NetnsWorkload(self._control, name, place, place, port)

    def address_of(self, place: str) -> tuple[str, ...]:
        """The addresses of a place."""
        if place not in self._addresses:
            raise ClusterError(f"there is no place {place!r}; the places are {', '.join(self._addresses)}")
        return self._addresses[place]

    async def provide(self, implementation: Implementation) -> None:
        """Start every command on every node and wait until each is ready; ClusterError with log if not."""
        commands = (*implementation.per_node, *implementation.controllers)
        if not commands:
            raise ClusterError(
                f"{implementation.name} starts nothing, so nothing would serve on {self.url}; add a "
                "[[per-node]] or [[controller]] with a program to its descriptor, or judge a cluster where "
                "it serves already")
        longest = max((command.ready_seconds for command in commands), default=0.0)
        self._patience = longest + _PROVIDE
        await self._ask({"op": "provide", "implementation": _as_json(implementation)}, self._patience)

    async def dead(self) -> list[str]:
        """One sentence for each implementation process that has ended by itself."""
        answer = await self._ask({"op": "dead"})
        return list(answer["dead"])

    async def snapshot(self, node: str) -> dict[str, str]:
        """Rules, connection tracking and logs of a node, by name."""
        answer = await self._ask({"op": "snapshot", "node": node}, 60.0)
        return dict(answer["texts"])

    async def run_on(self, place: str, argv: Sequence[str], *, timeout: float) -> tuple[int, str, str]:
        """Run ``argv`` on a node, a place or a pod (``pod:NAMESPACE/NAME``); status, output, error output."""
        question = {"op": "exec", "where": place, "argv": list(argv), "timeout": timeout}
        answer = await self._ask(question, timeout + _ASK)
        return answer["status"], answer["output"], answer["error"]

    async def cut_link(self, place: str, *, silently: bool) -> float:
        """Cut the cable of a node or place at the switch, with its carrier (pulled) or silently."""
        return await self._act({"op": "cut", "place": place, "silently": silently})

    async def heal_link(self, place: str) -> float:
        """Undo ``cut_link``; a link that is whole stays so."""
        return await self._act({"op": "heal", "place": place})

    async def kill_node(self, node: str) -> float:
        """End every process of the node at once and silence its port; nobody tells the API server."""
        return await self._act({"op": "kill", "node": node})

    async def revive_node(self, node: str) -> float:
        """Power back; gives when the port worked, and returns when the commands are ready again."""
        return await self._act({"op": "revive", "node": node}, self._patience)

    async def pause_node(self, node: str) -> float:
        """Stop every process of the node where it stands; its kernel goes on forwarding."""
        return await self._act({"op": "pause", "node": node})

    async def resume_node(self, node: str) -> float:
        """Let them go on; a node that is not paused stays as it is."""
        return await self._act({"op": "resume", "node": node})

    async def broken(self) -> dict[str, str]:
        """See :class:`clusters.base.CanMend`."""
        return dict((await self._ask({"op": "broken"}))["broken"])

    async def mend(self) -> None:
        """See :class:`clusters.base.CanMend`."""
        for place, what in (await self.broken()).items():
            if what == "without power":
                await self.revive_node(place)
                continue
            if what == "paused":
                await self.resume_node(place)
            await self.heal_link(place)

    async def signal(self, place: str, command: str, number: int) -> float:
        """Send a signal to a command of the implementation and all its children.

        Of the cluster itself ``control-plane`` has the commands ``api-server`` and ``controllers``, which are
        started again by themselves when they end.
        """
        return await self._act({"op": "signal", "place": place, "command": command, "signal": number})

    async def restart(self, place: str, command: str) -> float:
        """SIGTERM, wait for its end, start it anew; gives when it was ready."""
        patience = max(self._patience, _RESTART)
        return await self._act({"op": "restart", "place": place, "command": command}, patience)

    async def tap_start(self) -> None:
        """Begin to note frames that come in on any port of the switch: all ARP, and UDP and TCP to or from
        the load balancer addresses, the nodes' node ports and the outside host.
        """
        await self._ask({"op": "tap-start"})

    async def tap_stop(self) -> list[Frame]:
        """End it; gives the frames in order of time. ClusterError when some are missing: it proves nothing.
        """
        answer = await self._ask({"op": "tap-stop"})
        return await asyncio.get_running_loop().run_in_executor(None, _frames, answer)

    async def _act(self, question: conversation.Object, timeout: float = _ASK) -> float:
        return float((await self._ask(question, timeout))["at"])

    async def _ask(self, question: conversation.Object, timeout: float = _ASK) -> conversation.Object:
        answer, fd = await conversation.ask(self._control, question, timeout=timeout)
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)
        return answer


def _frames(answer: conversation.Object) -> list[Frame]:
    """The frames of a tap that entered the switch: those that came to a dead port did not."""
    file = Path(answer["file"])
    found, lost, full = tap.read(file)
    file.unlink()
    if lost or full:
        raise ClusterError(f"the tap missed frames ({lost} dropped by the kernel"
                           f"{', no room for more' if full else ''}); stop it sooner, or send less")
    frames = [Frame(at, answer["ports"][str(number)], data) for at, number, data in found]
    dead = [(place, since, until) for place, since, until in answer["silences"]]
    entered = (frame for frame in frames if not any(
        frame.port == place and since <= frame.at < until for place, since, until in dead))
    return sorted(entered, key=lambda frame: frame.at)


async def _end(machine: launch.Machine | None, folder: runfolder.RunFolder) -> None:
    """Have the machine end itself, or kill it; when this returns the kernel has ended all its processes."""
    if machine is not None and machine.pid:
        patience = 0.0
        with suppress(ClusterError):  # one that does not stand yet, or is gone, is killed at once
            await conversation.ask(folder.path / "control", {"op": "down"}, timeout=_DOWN)
            patience = _DOWN
        await asyncio.get_running_loop().run_in_executor(None, machine.end, patience)
    folder.remove()


def _as_json(implementation: Implementation) -> conversation.Object:
    def one(command: Command) -> conversation.Object:
        return {**asdict(command), "env": dict(command.env)}

    return {
        "name": implementation.name, "version": implementation.version,
        "objects": [dict(item) for item in implementation.objects],
        "per_node": [one(command) for command in implementation.per_node],
        "controllers": [one(command) for command in implementation.controllers],
        "images": [asdict(image) for image in implementation.images],
    }
