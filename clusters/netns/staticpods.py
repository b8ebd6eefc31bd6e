"""The cluster's own programs on the control plane, kept running as a kubelet keeps static pods.

One that ends is started again: at once when somebody meant it or when it had run for a while, otherwise after
a pause that doubles. An implementation's programs are not kept so: their death is for the judge to report.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from clusters.base import ClusterError
from clusters.netns.hosts import Process

DEADLY = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGABRT)
_STEADY = 10.0  # seconds of life after which an end counts as the first again
_FIRST, _LONGEST = 0.25, 10.0  # seconds of pause after a second quick end; at most
_HOPELESS = 3  # quick ends in a row after which it is told as dead
_END_SECONDS = 15.0  # patience for a clean end before SIGKILL


def pause_after(quick_ends: int) -> float:
    """Seconds to wait before the next start, by how many quick ends there were in a row."""
    return 0.0 if quick_ends <= 1 else min(_LONGEST, _FIRST * 2.0 ** min(quick_ends - 2, 20))


async def _nothing() -> None:
    """For a program that answers nobody."""


@dataclass(eq=False)
class Pod:
    """One of them; ``words`` is what sentences call it, as in "the API server"."""

    words: str
    start: Callable[[], Process]
    answers: Callable[[], Awaitable[None]]
    process: Process
    meant: bool = False  # its end, if it has ended, is somebody's will
    quick_ends: int = 0
    started_again: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)


class StaticPods:
    """The programs by the name that faults call them by. ``say`` takes a line for the machine's log."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._pods: dict[str, Pod] = {}
        self._keeping: set[asyncio.Task[None]] = set()

    def start(
        self, name: str, words: str, start: Callable[[], Process],
        answers: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """Start a program by ``start``; ``answers`` waits until it does its work, or raises ClusterError."""
        self._pods[name] = Pod(words, start, answers, start())

    def keep(self) -> None:
        """From now on, start again whichever ends."""
        self._keeping = {asyncio.create_task(self._keep(pod)) for pod in self._pods.values()}

    def __getitem__(self, name: str) -> Pod:
        return self._pods[name]

    def __contains__(self, name: str) -> bool:
        return name in self._pods

    def dead(self) -> list[str]:
        """A sentence for each program that cannot be kept running."""
        return [f"{pod.words} ended {pod.quick_ends} times in a row, at last with status "
                f"{pod.process.ended.result()}; its log says why"
                for pod in self._pods.values() if pod.quick_ends >= _HOPELESS and pod.process.ended.done()]

    async def signal(self, name: str, number: int) -> float:
        """Signal a program and its children; gives when that was done (CLOCK_MONOTONIC)."""
        pod = self._pods[name]
        process = pod.process
        pod.meant = pod.meant or number in DEADLY
        signalled, at = await process.host.signal([await process.started], number)
        if not signalled:
            raise ClusterError(f"{pod.words} does not run at this moment; it is being started again")
        return at

    async def restart(self, name: str) -> float:
        """SIGTERM, its end (SIGKILL when that does not come), a new start; gives when that does its work."""
        pod = self._pods[name]
        process, again = pod.process, pod.started_again
        pod.meant = True
        pod.hurry.set()
        if not process.ended.done():
            process.kill(signal.SIGTERM)
            process.kill(signal.SIGCONT)  # one that was stopped hears nothing else
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await process.wait()
            process.kill(signal.SIGKILL, everything=True)
        await again.wait()
        await pod.process.started
        await pod.answers()
        return time.monotonic()

    async def _keep(self, pod: Pod) -> None:
        while True:
            began = time.monotonic()
            status = await pod.process.wait()
            if pod.meant or time.monotonic() - began >= _STEADY:
                pod.quick_ends = 0
            pod.quick_ends += not pod.meant
            pause = pause_after(pod.quick_ends)
            self._say(f"{pod.words} ended with status {status}; started again"
                      + (f" in {pause:g} s" if pause else ""))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await pod.hurry.wait()
            pod.meant = False
            pod.hurry.clear()
            try:
                pod.process = pod.start()
            except ClusterError as error:  # its host is gone, and the cluster with it
                self._say(f"{pod.words}: {error}")
                return
            done, pod.started_again = pod.started_again, asyncio.Event()
            done.set()
