"""One run in a thread of its own, for callers that are not asynchronous: the pytest plugin."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from clusters.base import Cluster
from conformance.options import Options
from conformance.report import load, write
from conformance.requirements import Requirement
from conformance.session import judged, prepare, standing
from conformance.verdict import Ruling

T = TypeVar("T")


class Live:
    """The cluster as seen from outside its event loop."""

    def __init__(self, found: Cluster, loop: asyncio.AbstractEventLoop) -> None:
        self.powers, self.url, self.namespace = found, found.url, found.namespace
        self.kubeconfig = found.kubeconfig
        self._loop = loop

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine of ``powers``: ``cluster.call(cluster.powers.nodes())``."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class Running:
    """The engine in a thread that lives as long as the session, started when first needed."""

    def __init__(self, options: Options, chosen: Sequence[Requirement]) -> None:
        """Check everything, start nothing. Raises RunError."""
        folder = Path(options.out) / "pytest" / re.sub(r"[^A-Za-z0-9.]+", "-", options.cluster).strip("-")
        command = shlex.join(["pytest", *sys.argv[1:]])
        self.plan = prepare(options, folder=folder, command=command, chosen=chosen)
        self.told = ""  # where the files are, once they are
        self._rulings: dict[str, Future[Ruling]] = {one.id: Future() for one in chosen}
        self._stood: Future[Live] = Future()
        self._thread = threading.Thread(target=self._main, name="service-conformance", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._held = asyncio.Event()

    def wait(self, id: str) -> Ruling:
        """The verdict of one requirement. Raises RunError when nothing can be judged."""
        self._start()
        return self._rulings[id].result()

    def cluster(self) -> Live:
        """The cluster once it stands. Raises RunError when it cannot be had."""
        self._start()
        return self._stood.result()

    def finish(self) -> None:
        """End: what is still running is cancelled, and the evidence gets its footer."""
        if self._loop is None or not self._thread.is_alive():
            return
        if all(future.done() for future in self._rulings.values()):
            self._loop.call_soon_threadsafe(self._held.set)
        elif self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread.start()

    def _main(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._run())
        waiting: list[Future[Any]] = [self._stood, *self._rulings.values()]
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as problem:  # handed to whoever waits in the main thread
            for future in waiting:
                if not future.done():
                    future.set_exception(problem)
        finally:
            self._loop.close()

    async def _run(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        async with standing(self.plan) as found:
            self._stood.set_result(Live(found, loop))
            if self.plan.selected:
                path = await judged(found, self.plan, ended=self._ended)
                report = load(path)
                write(report, self.plan.folder)
                self.told = f"{report.overall}; evidence and reports are in {self.plan.folder}/"
            if not task.cancelling():  # the user's own tests may still be using the cluster
                await self._held.wait()

    def _ended(self, ruling: Ruling) -> None:
        self._rulings[ruling.id].set_result(ruling)
