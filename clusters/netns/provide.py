"""Running an implementation: every command on its hosts, a wait until each is ready, and who died since."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clusters import binaries, manifests
from clusters.base import ClusterError
from clusters.client import ApiError
from clusters.netns import images, plan, podspec, probing
from clusters.netns.hosts import Host, Process
from clusters.netns.program import Program
from clusters.netns.staticpods import DEADLY

if TYPE_CHECKING:
    from clusters.netns.rooms import Rooms

Object = dict[str, Any]
_END_SECONDS = 15.0  # patience for a clean end before SIGKILL
_BETWEEN = 0.01  # seconds between looks whether a program is ready


@dataclass(eq=False)
class _Running:
    command: Object
    host: Host
    address: str
    log: Path
    number: int
    process: Process
    meant: bool = False  # its end, if it has ended, was the judge's doing

    @property
    def who(self) -> str:
        return f"{self.command['name']} on {self.host.name}"


class Provided:
    """The programs of the implementation that this cluster runs."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._running: list[_Running] = []
        self._name = ""
        self._modules: list[str] = []

    async def start(self, implementation: Object) -> None:
        """Start everything and wait until it is ready. ClusterError names what died or is never ready."""
        if self._running:
            raise ClusterError(f"implementation {self._name!r} runs already; a cluster runs one at a time")
        self._name = implementation["name"]
        for command in (*implementation["per_node"], *implementation["controllers"]):
            self._must_exist(command)
        await manifests.apply(self._rooms.admin, implementation["objects"])
        hosts = [(node.name, node.address) for node in self._rooms.nodes]
        # The importing happens once a host, before the forks, and on all hosts at the same time.
        programs = (*implementation["per_node"], *implementation["images"])
        self._modules = sorted({one["python"] for one in programs if one["python"]})
        await asyncio.gather(*(self._rooms.host(name).preload(self._modules) for name, _address in hosts))
        for one in implementation["images"]:
            self._rooms.kubelet.images[one["image"]] = images.Image(
                one["image"], one["python"], tuple(one["args"]), account=True)
        places: list[tuple[Object, str, str]] = []
        for command in implementation["per_node"]:
            for name, address in hosts:
                places.append((command, name, address))
        for command in implementation["controllers"]:
            places.append((command, "control-plane", plan.CONTROL_PLANE))
        await asyncio.gather(*(self._port_free(command, name) for command, name, _address in places))
        for number, (command, name, address) in enumerate(places):
            await self._let_in(command, name, number)
            self._running.append(self._start(command, name, address, number))
        try:
            await asyncio.gather(*(self._ready(running) for running in self._running))
        except BaseException:
            await self._end_all()
            raise

    async def _end_all(self) -> None:
        """Nothing of an implementation that did not start is left, so that another can be started."""
        for running in self._running:
            running.process.kill(signal.SIGKILL, everything=True)
        await asyncio.gather(*(running.process.wait() for running in self._running))
        for running in self._running:
            running.log.unlink(missing_ok=True)  # the next one's log is not to begin with this one's lines
        self._running.clear()

    def _must_exist(self, command: Object) -> None:
        """ClusterError when the program of a command is nowhere on this machine."""
        if command["argv"] and "{" not in command["argv"][0]:
            binaries.find([command["argv"][0]], self._rooms.program_path)

    async def _port_free(self, command: Object, host: str) -> None:
        """ClusterError when somebody else answers where the program will be asked whether it is ready."""
        url = urlsplit(command["ready"])
        if not command["ready"]:
            return
        network, port = self._rooms.host(host).network, url.port or 80
        if await probing.tcp_answers(network, url.hostname or "127.0.0.1", port, 1.0):
            raise ClusterError(f"{command['name']} on {host}: port {port} is in use before it is started; "
                               "end what listens there, or give the program another port")

    async def _let_in(self, command: Object, host: str, number: int) -> None:
        """Put the token of the command's account into its kubeconfig, where it names one."""
        if not command["account"]:
            return
        namespace, _, name = command["account"].partition("/")
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        try:
            given = await self._rooms.admin.create(path, podspec.TOKEN_REQUEST)
        except ApiError as error:
            raise ClusterError(f"{command['name']} on {host}: no token for account {command['account']}: "
                               f"{error}; is the ServiceAccount in the manifests?") from error
        self._rooms.write_kubeconfig(f"implementation-{number}", given["status"]["token"])

    def dead(self) -> list[str]:
        """One sentence for each program that has ended."""
        return [f"{running.who} ended with status {running.process.ended.result()}"
                for running in self._running if running.process.ended.done() and not running.meant]

    def logs(self, host: str) -> dict[str, Path]:
        """The log files of the commands on a host, by command name."""
        mine = [running for running in self._running if running.host.name == host]
        return {running.command["name"]: running.log for running in mine}

    def _find(self, host: str, name: str) -> _Running:
        """A command on a host; ClusterError names those there are."""
        mine = {running.command["name"]: running for running in self._running if running.host.name == host}
        if name not in mine:
            raise ClusterError(f"no command {name!r} of an implementation on {host}; "
                               f"there are: {', '.join(mine) or 'none'}")
        return mine[name]

    async def signal(self, host: str, name: str, number: int) -> float:
        """Signal a command and all its children; gives when that was done (CLOCK_MONOTONIC)."""
        running = self._find(host, name)
        signalled, at = await running.host.signal([await running.process.started], number)
        if not signalled:
            raise ClusterError(f"{running.who} does not run, nothing to signal; restart it first")
        running.meant = running.meant or number in DEADLY
        return at

    async def restart(self, host: str, name: str) -> float:
        """SIGTERM, the end (SIGKILL when it does not come), a new start; gives when that is ready."""
        running = self._find(host, name)
        running.meant = True
        # Now, as the children of one that has ended are known to nobody.
        family, _at = await running.host.signal([await running.process.started], 0)
        if not running.process.ended.done():
            running.process.kill(signal.SIGTERM)
            running.process.kill(signal.SIGCONT)  # one that was stopped hears nothing else
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await running.process.wait()
        await running.host.signal(family, signal.SIGKILL)  # what it left, as with a container
        await running.process.wait()
        await self._again(running)
        return time.monotonic()

    def lost(self, host: str) -> None:
        """A node's power is cut: that its commands end is no news."""
        for running in self._running:
            running.meant = running.meant or (running.host.name == host and not running.process.ended.done())

    async def revive(self, host: str) -> None:
        """Start a node's commands anew on its new init, and wait until each is ready."""
        mine = [running for running in self._running if running.host.name == host]
        if mine:
            await self._rooms.host(host).preload(self._modules)
        await asyncio.gather(*(self._again(running) for running in mine))

    async def _again(self, old: _Running) -> None:
        fresh = self._start(old.command, old.host.name, old.address, old.number)
        self._running[self._running.index(old)] = fresh
        await self._ready(fresh)

    def _start(self, command: Object, name: str, address: str, number: int) -> _Running:
        rooms, host = self._rooms, self._rooms.host(name)
        kubeconfig = rooms.folder / "internal" / f"implementation-{number}"
        if not kubeconfig.exists():
            raise ClusterError(f"implementation {self._name!r} has too many commands: {number} are running; "
                               "use fewer nodes or commands")
        folder = rooms.folder / "commands" / name / command["name"]
        folder.mkdir(parents=True, exist_ok=True)
        pods, services = plan.networks(rooms.config["dual"])
        values = {
            "node": name, "node_ip": address, "kubeconfig": str(kubeconfig),
            "cluster_cidr": pods, "service_cidr": services, "run_dir": str(folder),
        }
        log = folder / "log"
        extra = {key: fill(text, values) for key, text in command["env"].items()}
        extra.setdefault("PATH", rooms.program_path)
        process = host.start(Program(
            argv=tuple(fill(word, values) for word in (*command["argv"], *command["args"]))
            if command["argv"] else (),
            python=command["python"], args=tuple(fill(word, values) for word in command["args"]),
            env=rooms.environment(**extra), cwd=str(folder), log=str(log),
        ))
        return _Running(command, host, address, log, number, process)

    async def _ready(self, running: _Running) -> None:
        """Wait until the program answers 200 in its own network, or has ended, or time is up."""
        from clusters.netns.rooms import last_lines

        await running.process.started
        url = urlsplit(running.command["ready"])
        patience = float(running.command["ready_seconds"])
        end = time.monotonic() + patience
        if not running.command["ready"]:
            return
        status = 0
        while True:
            if running.process.ended.done():
                raise ClusterError(
                    f"{running.who} ended with status {running.process.ended.result()} before it was ready; "
                    "its last lines say why: put that right and start again", log=last_lines(running.log))
            status = await probing.http_status(
                running.host.network, url.hostname or "127.0.0.1", url.port or 80,
                (url.path or "/") + (f"?{url.query}" if url.query else ""), 1.0,
            )
            if status == 200:
                return
            if time.monotonic() > end:
                said = f"answered {status}" if status else "did not answer"
                raise ClusterError(
                    f"{running.who} is not ready after {patience:g} s: {running.command['ready']} {said}; "
                    "its last lines may say why, or give it more ready-seconds", log=last_lines(running.log))
            await asyncio.sleep(_BETWEEN)


def fill(text: str, values: Mapping[str, str]) -> str:
    """``{node}`` and the other names by their values; any other brace stays as it is."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text
