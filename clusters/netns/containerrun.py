"""One container of a pod: start, readiness, restarts, end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.netns import images, podspec, probing
from clusters.netns.containerlog import Log
from clusters.netns.hosts import Process, run
from clusters.netns.podroot import Root
from clusters.netns.podstatus import ContainerState
from clusters.netns.program import Program
from clusters.netns.programio import ProgramIO

if TYPE_CHECKING:
    from clusters.netns.podrun import PodRun

Object = dict[str, Any]
Maps = Mapping[str, Mapping[str, str]]
_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"  # where pods look, as /var/run is /run
_STARTED = 10.0  # seconds a stand-in may take until it listens
_FIRST_PROBES = 0.05  # seconds between probes until the first success; later the probe's own period
_LONGEST_BACKOFF = 300.0  # seconds; Kubernetes: 10 s, doubled each time, 5 minutes at most


def now() -> str:
    """This moment, as the API writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class ContainerRun:
    """A container and the tasks that look after it."""

    def __init__(self, pod: PodRun, spec: Object, image: images.Image | None) -> None:
        self.pod = pod
        self.spec = spec
        self.image = image
        self.state = ContainerState(spec["name"], spec["image"])
        self.process: Process | None = None
        self.io: ProgramIO | None = None  # of the run that is under way
        self._log: Log | None = None
        self._life: asyncio.Task[None] | None = None
        self._environment: dict[str, str] = {}
        self._ending = False
        self._finished = False  # it has ended for good
        self._uncounted = False  # it has ended and its next start is a restart not yet counted

    def begin(self, maps: Maps) -> None:
        """Start the program and what looks after it. ValueError, ClusterError or OSError: it cannot be.

        After a power cut this is a restart, which counts unless it was counted before the cut.
        """
        probe = podspec.readiness(self.spec)
        if self._finished:
            return
        if self._uncounted:
            self.state.restarts, self._uncounted = self.state.restarts + 1, False
        self._life = asyncio.create_task(self._live(self._program(maps), probe))

    async def give_up(self) -> None:
        """Look no longer after a program that ended with its node."""
        if self.process is not None and self.process.host.alive and not self.process.ended.done():
            self.process.kill(signal.SIGKILL, everything=True)  # started between the two
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    async def end(self, grace: float) -> None:
        """SIGTERM, at most ``grace`` seconds of patience, then SIGKILL to all that is left of it."""
        self._ending = True
        process = self.process
        if process is not None and not process.ended.done() and process.host.alive:
            try:
                if grace > 0:
                    process.kill(signal.SIGTERM)
                    async with asyncio.timeout(grace):
                        await process.wait()
            except TimeoutError:
                pass
            except ClusterError:
                pass  # the host died meanwhile, and the program with it
        if process is not None and process.host.alive:
            try:
                process.kill(signal.SIGKILL, everything=True)
                await process.wait()
            except ClusterError:
                pass
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    async def _live(self, program: Program, probe: podspec.Probe | None) -> None:
        """Run the program, again and again as the restartPolicy says."""
        policy = self.pod.pod["spec"].get("restartPolicy") or "Always"
        backoff = 0.0
        while not self._ending:
            try:
                status = await self._once(program, probe)
            except ClusterError:
                return  # the host is dead: nobody is left to say anything about its pods
            state = self.state
            state.ready, state.exit_status, state.finished_at = False, status, now()
            self._finished = policy == "Never" or (policy == "OnFailure" and status == 0)
            self._uncounted = not self._finished
            self.pod.report()
            if self._ending or self._finished:
                return
            state.previous = {"terminated": state.terminated()}
            if backoff:
                state.waiting = ("CrashLoopBackOff", f"back-off {backoff:g}s restarting failed "
                                 f"container={state.name} pod={self.pod.name}")
                self.pod.report()
            await asyncio.sleep(backoff)
            backoff = min(_LONGEST_BACKOFF, backoff * 2 or 10.0)
            if not self.pod.host.alive:
                return  # started again, and counted, when its node is
            state.restarts, self._uncounted = state.restarts + 1, False

    async def _once(self, program: Program, probe: podspec.Probe | None) -> int:
        io = self.io = ProgramIO(tty=bool(self.spec.get("tty")), stdin=bool(self.spec.get("stdin")))
        log = self._log = Log(self._log_path(self.state.restarts))
        self._log_path(self.state.restarts - 2).unlink(missing_ok=True)
        io.hearers.append(log.write)
        try:
            program = Program(**{**vars(program), "fds": io.numbers, "tty": io.tty})
            process = self.process = self.pod.host.start(program, [self.pod.network, *io.theirs])
            io.started()
            await process.started
            looking = asyncio.create_task(self._look(process, probe))
            try:
                return await process.wait()
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
        finally:
            io.close()
            log.close()
            self.io = None

    def log_of(self, *, previous: bool) -> tuple[Path, Log | None]:
        """The log file of this run, or of the one before; and what tells of its growth while that runs."""
        running = self.io is not None
        if previous:
            return self._log_path(self.state.restarts - 1), None
        if self._log is None:
            raise ClusterError(f"container {self.spec['name']} of pod {self.pod.name} has not run yet")
        return self._log.path, self._log if running else None

    def _log_path(self, restarts: int) -> Path:
        folder: Path = self.pod.folder / "logs"
        return folder / f"{self.spec['name']}.{restarts}"

    async def _look(self, process: Process, probe: podspec.Probe | None) -> None:
        """Say that the container runs, and whether it is ready, for as long as it does."""
        await self._listening(process)
        state = self.state
        state.waiting, state.exit_status = None, None
        state.started_at, state.number = now(), f"forked://{self.pod.node.name}/{process.number}"
        state.ready = probe is None
        self.pod.report()
        if probe is None:
            return
        await asyncio.sleep(probe.delay)
        good = bad = 0
        seen_ready = False
        while True:
            if await self._ask(probe):
                good, bad = good + 1, 0
            else:
                good, bad = 0, bad + 1
            ready = good >= probe.successes or (state.ready and bad < probe.failures)
            if ready != state.ready:
                state.ready = ready
                self.pod.report()
            seen_ready = seen_ready or ready
            await asyncio.sleep(probe.period if seen_ready else min(probe.period, _FIRST_PROBES))

    async def _listening(self, process: Process) -> None:
        """Wait until a stand-in that serves has opened its port: it is one start, not a start and a gap."""
        own_program = not self.spec.get("command")
        if self.image is None or not self.image.listens or not own_program:
            return
        end = time.monotonic() + _STARTED
        while time.monotonic() < end and not process.ended.done():
            if await probing.tcp_answers(self.pod.network, "127.0.0.1", self.image.listens, 1.0):
                return
            await asyncio.sleep(0.005)

    async def _ask(self, probe: podspec.Probe) -> bool:
        """One probe, from the node's network as a kubelet's."""
        if probe.argv:
            status, _out, _err = await self.execute(probe.argv, probe.timeout)
            return status == 0
        address = probe.host or self.pod.address
        network = self.pod.host.network
        if not probe.path:
            return await probing.tcp_answers(network, address, probe.port, probe.timeout)
        status = await probing.http_status(
            network, address, probe.port, probe.path, probe.timeout, probe.headers)
        return 200 <= status < 400

    async def execute(
        self, argv: tuple[str, ...], timeout: float, stdin: bytes = b"",
    ) -> tuple[int, str, str]:
        """Run a command among the container's files, in its network. ClusterError when it is not running."""
        program = await self._beside(argv)
        return await run(self.pod.host, program, timeout=timeout, stdin=stdin)

    async def spawn(self, argv: tuple[str, ...], io: ProgramIO) -> Process:
        """Start a command as ``execute`` does, with these descriptors. ClusterError when it cannot be."""
        program = await self._beside(argv)
        extra = {"TERM": "xterm"} if io.tty else {}
        program = Program(**{**vars(program), "fds": io.numbers, "tty": io.tty, "env": program.env | extra})
        process = self.pod.host.start(program, io.theirs)
        io.started()
        return process

    async def _beside(self, argv: tuple[str, ...]) -> Program:
        if self.process is None or self.process.ended.done():
            raise ClusterError(f"container {self.spec['name']} of pod {self.pod.name} is not running")
        cwd = self.spec.get("workingDir") or "/"
        return Program(argv=argv, env=self._environment, enter=await self.process.started, cwd=cwd)

    def _program(self, maps: Maps) -> Program:
        """The container's program; ValueError says what in its specification is not supported."""
        assert self.image is not None
        pod, rooms = self.pod, self.pod.kubelet.rooms
        own = podspec.environment(pod.pod, self.spec, pod.facts, maps)
        if self.spec.get("tty"):
            own.setdefault("TERM", "xterm")
        self._environment = rooms.pod_environment(own)
        command = [podspec.expand(word, own) for word in self.spec.get("command") or ()]
        args = [podspec.expand(word, own) for word in self.spec.get("args") or ()]
        python, words = images.program_of(self.image, command, args)
        if self.image.account:  # the image's own words, which the container's environment completes
            words = tuple(podspec.expand(word, own) for word in words)
        files = {
            "/etc/resolv.conf": podspec.resolv_conf(pod.pod),
            "/etc/hosts": podspec.hosts_file(pod.pod, pod.facts),
            "/etc/hostname": podspec.hostname(pod.pod) + "\n",
        }
        if self.image.account:
            namespace = pod.pod["metadata"].get("namespace", "default")
            files |= {f"{_ACCOUNT}/{name}": text for name, text in (
                ("token", pod.token), ("ca.crt", rooms.authority().decode()), ("namespace", namespace))}
        if self.image.kubeconfig:  # the cluster DNS
            python = rooms.config["dns"]
            files["/run/kubeconfig"] = (rooms.folder / "internal" / "coredns").read_text()
        binds, scratch = self._volumes(maps)
        return Program(
            argv=() if python else words, python=python, args=words if python else (),
            env=self._environment, cwd=self.spec.get("workingDir") or "/",
            hostname="" if pod.on_host else podspec.hostname(pod.pod), net=True,
            root=Root(files, binds, scratch, tuple(rooms.config["keep"])),
        )

    def _volumes(self, maps: Maps) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        """The folders and files to show in the pod, and the empty writable ones."""
        volumes = {volume["name"]: volume for volume in self.pod.pod["spec"].get("volumes") or ()}
        binds: list[tuple[str, str]] = []
        scratch: list[str] = []
        for mount in self.spec.get("volumeMounts") or ():
            volume = volumes.get(mount["name"])
            if volume is None:
                raise ValueError(f"volumeMount {mount['name']!r} names no volume of the pod")
            if "emptyDir" in volume:
                scratch.append(mount["mountPath"])
            elif "configMap" in volume or "secret" in volume:
                folder = _write_map(self.pod.folder / "volumes", volume, maps)
                source = folder / mount["subPath"] if mount.get("subPath") else folder
                binds.append((str(source), mount["mountPath"]))
            elif mount["mountPath"] != "/var/run/secrets/kubernetes.io/serviceaccount":
                raise ValueError(f"volume {mount['name']!r}: only configMap, secret and emptyDir are "
                                 "supported here")
        return tuple(binds), tuple(scratch)


def _write_map(folder: Path, volume: Object, maps: Maps) -> Path:
    """Write the files of a ConfigMap's or Secret's volume; gives their folder."""
    target = folder / str(volume["name"])
    target.mkdir(parents=True, exist_ok=True)
    kind = "configmap" if "configMap" in volume else "secret"
    about = volume["configMap"] if kind == "configmap" else volume["secret"]
    name = about.get("secretName") or about.get("name", "")
    values, items = maps.get(f"{kind}/{name}", {}), about.get("items")
    chosen = {item["key"]: item["path"] for item in items} if items else {key: key for key in values}
    for key, path in chosen.items():
        if key not in values:
            raise ValueError(f"volume {volume['name']!r}: {kind} {name!r} has no key {key!r}")
        file = target / path
        if not file.resolve().is_relative_to(target.resolve()):
            raise ValueError(f"volume {volume['name']!r}: path {path!r} leads out of the volume")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(values[key])
    return target
