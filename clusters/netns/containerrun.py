"""One container of a pod: start, probes, restarts, end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.netns import containerspec, images, probes, probing
from clusters.netns.containerlog import Log, last_words
from clusters.netns.hosts import Process, run
from clusters.netns.podstatus import ContainerState
from clusters.netns.prober import Prober, attempt
from clusters.netns.program import Program
from clusters.netns.programio import ProgramIO

if TYPE_CHECKING:
    from clusters.netns.podrun import PodRun

Object = dict[str, Any]
Maps = Mapping[str, Mapping[str, str]]
_STARTED = 10.0  # seconds a stand-in may take until it listens
_HOOK = 3600.0  # seconds; postStart has no limit in Kubernetes
_LEAST_GRACE = 2.0  # seconds that a preStop hook always leaves for the program, as in Kubernetes


def now() -> str:
    """This moment, as the API writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class ContainerRun:
    """A container and the tasks that look after it. ``init``: it runs before the pod's others."""

    def __init__(self, pod: PodRun, spec: Object, image: images.Image | None, *, init: bool = False) -> None:
        self.pod = pod
        self.spec = spec
        self.image = image
        self.init = init
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self.state = ContainerState(spec["name"], spec["image"], sidecar=self.sidecar)
        self.process: Process | None = None
        self.io: ProgramIO | None = None  # of the run that is under way
        self.moved = asyncio.Event()  # started or ended for good since this was cleared
        self._log: Log | None = None
        self._life: asyncio.Task[None] | None = None
        self._killing: asyncio.Task[None] | None = None
        self._environment: dict[str, str] = {}
        self._patience: asyncio.Timeout | None = None  # with a program that has been asked to end
        self._ending = False
        self.finished = False  # it has ended for good
        self._uncounted = False  # it has ended and its next start is a restart not yet counted

    def begin(self, maps: Maps) -> None:
        """Start the program and what looks after it. ValueError, ClusterError or OSError: it cannot be.

        After a power cut this is a restart, which counts unless it was counted before the cut.
        """
        if self.finished and not self.init:
            return
        assert self.image is not None
        Prober(self), probes.hook(self.spec, "postStart"), probes.hook(self.spec, "preStop")  # or ValueError
        self.finished = False
        program = containerspec.program(self.pod, self.spec, self.image, maps, self._last_words)
        self._environment = program.env
        if self._uncounted:
            self.state.restarts, self._uncounted = self.state.restarts + 1, False
        self._life = asyncio.create_task(self._live(program))

    async def give_up(self) -> None:
        """Look no longer after a program that ended with its node."""
        if self.process is not None and self.process.host.alive and not self.process.ended.done():
            self.process.kill(signal.SIGKILL, everything=True)  # started between the two
        await self._look_away()

    async def end(self, grace: float) -> None:
        """End it for good: preStop, SIGTERM, at most ``grace`` seconds of patience, SIGKILL."""
        self._ending = True
        await self._stop(grace, f"Stopping container {self.spec['name']}")
        if self._life is not None:
            await asyncio.wait([self._life], timeout=1.0)  # it notes how the program ended
        await self._look_away()

    def hasten(self, grace: float) -> None:
        """Have an end that is under way come within ``grace`` seconds; never later than it would."""
        end = asyncio.get_running_loop().time() + grace
        if self._patience is not None and end < (self._patience.when() or end):
            self._patience.reschedule(end)

    async def _look_away(self) -> None:
        tasks = [task for task in (self._life, self._killing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def changed(self) -> None:
        """Something has changed that the status shows, or that others wait for."""
        self.moved.set()
        self.pod.report()

    def tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event about this container."""
        self.pod.tell(reason, message, warning=warning, container=self)

    def unhealthy(self, kind: str, grace: float | None) -> None:
        """A liveness or startup probe has failed: end the program; its restartPolicy decides what follows."""
        if grace is None:
            grace = float(self.pod.pod["spec"].get("terminationGracePeriodSeconds") or 0)
        message = f"Container {self.spec['name']} failed {kind} probe, will be restarted"
        self._killing = asyncio.create_task(self._stop(grace, message))

    async def _stop(self, grace: float, message: str) -> None:
        process = self.process
        if process is None or process.ended.done() or not process.host.alive:
            return
        self.tell("Killing", message)
        with suppress(ClusterError):  # the host died meanwhile, and the program with it
            with suppress(TimeoutError):
                if grace > 0:
                    left = await self._pre_stop(grace)
                    process.kill(signal.SIGTERM)
                    async with asyncio.timeout(left) as self._patience:
                        await process.wait()
            self._patience = None
            process.kill(signal.SIGKILL, everything=True)
            await process.wait()

    async def _pre_stop(self, grace: float) -> float:
        """Run the preStop hook; gives the seconds that are left for the program."""
        action = probes.hook(self.spec, "preStop")
        if action is None:
            return grace
        began, why = time.monotonic(), "out of time"
        with suppress(TimeoutError):
            async with asyncio.timeout(grace) as self._patience:
                why = await attempt(self, action, grace)
        if why:
            self.tell("FailedPreStopHook", "PreStopHook failed", warning=True)
        return max(_LEAST_GRACE, grace - (time.monotonic() - began))  # which a later, shorter grace cuts

    async def _live(self, program: Program) -> None:
        """Run the program, again and again as the restartPolicy says."""
        policy = probes.policy_of(self.pod.pod, self.spec, init=self.init)
        backoff, state, who = probes.BackOff(), self.state, self.pod.long_name
        while not self._ending:
            began = time.monotonic()
            try:
                status = await self._once(program)
            except ClusterError:
                return  # the host is dead: nobody is left to say anything about its pods
            state.ended(status, now(), self._said_last(status))
            self.finished = not probes.restarts(policy, status)
            self._uncounted = not self.finished
            self.changed()
            if self._ending or self.finished:
                return
            state.previous = {"terminated": state.terminated()}
            if wait := backoff.after(time.monotonic() - began):
                state.waiting = ("CrashLoopBackOff", f"back-off {probes.go_duration(wait)} restarting failed "
                                 f"container={state.name} pod={who}")
                self.tell("BackOff", f"Back-off restarting failed container {state.name} in pod {who}",
                          warning=True)
                self.changed()
            await asyncio.sleep(wait)
            if not self.pod.host.alive:
                return  # started again, and counted, when its node is
            state.restarts, self._uncounted = state.restarts + 1, False

    async def _once(self, program: Program) -> int:
        io = self.io = ProgramIO(tty=bool(self.spec.get("tty")), stdin=bool(self.spec.get("stdin")))
        log = self._log = Log(self._log_path(self.state.restarts))
        self._log_path(self.state.restarts - 2).unlink(missing_ok=True)
        self._last_words.write_bytes(b"")
        io.hearers.append(log.write)
        try:
            program = replace(program, fds=io.numbers, tty=io.tty)
            process = self.process = self.pod.host.start(program, [self.pod.network.fd, *io.theirs])
            io.started()
            await process.started
            looking = asyncio.create_task(self._look(process))
            try:
                return await process.wait()
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
        finally:
            io.close()
            log.close()
            self.io = None

    @property
    def _last_words(self) -> Path:
        """The file behind the container's terminationMessagePath."""
        folder: Path = self.pod.folder / "last-words"
        return folder / str(self.spec["name"])

    def _said_last(self, status: int) -> str:
        """The run's termination message, by the container's terminationMessagePolicy."""
        policy = self.spec.get("terminationMessagePolicy")
        log = self._log.path if self._log and status and policy == "FallbackToLogsOnError" else None
        return last_words(self._last_words, log)

    def log_of(self, *, previous: bool) -> tuple[Path, Log | None]:
        """The log file of this run, or of the one before; and what tells of its growth while that runs."""
        if previous:
            return self._log_path(self.state.restarts - 1), None
        if self._log is None:
            raise ClusterError(f"container {self.spec['name']} of pod {self.pod.name} has not run yet")
        return self._log.path, self._log if self.io is not None else None

    def _log_path(self, restarts: int) -> Path:
        folder: Path = self.pod.folder / "logs"
        return folder / f"{self.spec['name']}.{restarts}"

    async def _look(self, process: Process) -> None:
        """Say that the container runs, and what its probes say, for as long as it does."""
        self.tell("Pulled", f'Container image "{self.spec["image"]}" already present on machine')
        self.tell("Created", "Container created")
        await self._listening(process)
        self.tell("Started", "Container started")
        self.state.began(now(), f"forked://{self.pod.node.name}/{process.number}")
        self.changed()
        if (action := probes.hook(self.spec, "postStart")) and await attempt(self, action, _HOOK):
            self.tell("FailedPostStartHook", "PostStartHook failed", warning=True)
            self._killing = asyncio.create_task(self._stop(_LEAST_GRACE, "FailedPostStartHook"))
            return
        await Prober(self).run()

    async def _listening(self, process: Process) -> None:
        """Wait until a stand-in that serves has opened its port: it is one start, not a start and a gap."""
        own_program = not self.spec.get("command")
        if self.image is None or not self.image.listens or not own_program:
            return
        end = time.monotonic() + _STARTED
        while time.monotonic() < end and not process.ended.done():
            if await probing.tcp_answers(self.pod.network.fd, "127.0.0.1", self.image.listens, 1.0):
                return
            await asyncio.sleep(0.005)

    async def execute(
        self, argv: tuple[str, ...], timeout: float, stdin: bytes = b"",
    ) -> tuple[int, str, str]:
        """Run a command among the container's files, in its network. ClusterError when it is not running."""
        return await run(self.pod.host, await self._beside(argv), timeout=timeout, stdin=stdin)

    async def spawn(self, argv: tuple[str, ...], io: ProgramIO) -> Process:
        """Start a command as ``execute`` does, with these descriptors. ClusterError when it cannot be."""
        program = await self._beside(argv)
        extra = {"TERM": "xterm"} if io.tty else {}
        program = replace(program, fds=io.numbers, tty=io.tty, env=program.env | extra)
        process = self.pod.host.start(program, io.theirs)
        io.started()
        return process

    async def _beside(self, argv: tuple[str, ...]) -> Program:
        if self.process is None or self.process.ended.done():
            raise ClusterError(f"container {self.spec['name']} of pod {self.pod.name} is not running")
        cwd = self.spec.get("workingDir") or "/"
        return Program(argv=argv, env=self._environment, enter=await self.process.started, cwd=cwd)
