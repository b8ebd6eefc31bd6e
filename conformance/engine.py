"""Runs many requirements at once, disruptive ones alone, and writes down how each ended.

A body's exception is never the implementation's failure: trouble of the suite's own objects or code is an
error, a vantage that is gone makes the requirement unknown, and what the cluster lacks makes it unsupported.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from clusters.base import CanRunImplementation, CanSnapshot, ClusterError
from conformance import post
from conformance.evidence import Evidence, Record
from conformance.kube import KubeError
from conformance.lab import Lab
from conformance.requirements import Requirement
from conformance.rig import POWERS, Rig
from conformance.vantage import VantageError
from conformance.verdict import Ruling, Verdict, judge

WATCH = 0.5  # seconds between two looks at whether the implementation's processes live


class DiedAtStart(Exception):
    """A process of the implementation had ended before anything was asked of it; says which."""


class Remembering(Evidence):
    """Evidence that also keeps each requirement's records until its verdict is asked for."""

    kept: dict[str, list[Record]]
    header_record: Record

    def write(self, record: Record) -> None:
        """Append the record to the file, then keep it."""
        super().write(record)
        if record["type"] == "header":
            self.kept, self.header_record = {}, record
        elif "id" in record:
            self.kept.setdefault(record["id"], []).append(record)

    def ruling(self, id: str) -> Ruling:
        """The verdict of one requirement that has ended."""
        entries = [entry for entry in self.header_record["requirements"] if entry["id"] == id]
        footer = {"type": "footer", "ended": "", "requirements": 1, "interrupted": False}
        records = [{**self.header_record, "requirements": entries}, *self.kept.get(id, ()), footer]
        return judge(records).rulings[0]


@dataclass
class Progress:
    """How far the run is; shown by whoever runs the engine."""

    total: int
    done: int = 0
    running: dict[str, None] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """Count, current requirement and expected remaining time, in one line."""
        current = ", ".join(list(self.running)[:3]) + (" …" if len(self.running) > 3 else "")
        passed = time.monotonic() - self.began
        left = f", about {passed / self.done * (self.total - self.done):.0f} s left" if self.done else ""
        return f"{self.done}/{self.total} {current or 'setting up'}, {passed:.0f} s{left}"


class Engine:
    """One run over one cluster."""

    def __init__(
        self, rig: Rig, evidence: Remembering, selected: Sequence[Requirement], *, jobs: int,
        ended: Callable[[Ruling], None] = lambda _: None,
    ) -> None:
        self.rig, self.evidence, self.selected, self.jobs = rig, evidence, list(selected), jobs
        self.progress = Progress(len(self.selected))
        self.died: list[str] = []  # sentences about processes of the implementation that ended by themselves
        self._ended = ended
        self._over: set[str] = set()
        self._dead = asyncio.Event()

    async def run(self) -> bool:
        """Run everything; gives True when it came to its end. Cancelling it records the rest as not run.

        Never raises for what a body does; the evidence has one ending for every selected requirement. Raises
        DiedAtStart when there is nothing to judge.
        """
        try:
            possible = await self._possible()
            if possible and await self._stand(possible):
                if await self._look():
                    raise DiedAtStart(self.died[0])
                await self._bodies(possible)
            return True
        except asyncio.CancelledError:
            return False
        finally:
            for requirement in self.selected:
                if requirement.id not in self._over:
                    self.evidence.not_run(requirement.id, "the run was interrupted before it ended")
                    self._finish(requirement.id)

    async def _possible(self) -> list[Requirement]:
        """Those that this cluster can show and this implementation declares; the rest is recorded."""
        powers = await self.rig.powers()
        found = []
        for requirement in self.selected:
            missing = [POWERS.get(need, need) for need in sorted(requirement.needs - powers)]
            undeclared = self.rig.declaration.lacking(requirement.features)
            if missing:
                self.evidence.unsupported(requirement.id, f"this cluster does not offer {', '.join(missing)}")
            elif undeclared:
                self.evidence.unsupported(requirement.id, f"not declared: {', '.join(undeclared)}")
            else:
                found.append(requirement)
                continue
            self._finish(requirement.id)
        return found

    async def _stand(self, possible: Sequence[Requirement]) -> bool:
        """Raise the rig; when it does not stand, everything is unknown, for nothing can be measured."""
        needs = frozenset[str]().union(*(requirement.needs for requirement in possible))
        try:
            if "seed" in needs:  # first, so that its pods get the addresses a seed cluster keeps for them
                await self._shared_post()
            await self.rig.stand(needs)
        except Exception as problem:
            said = "; ".join(str(one) or type(one).__name__ for one in _leaves(problem))
            for requirement in possible:
                self.evidence.unknown(requirement.id, f"the rig does not stand: {said}")
                self._finish(requirement.id)
            return False
        return True

    async def _shared_post(self) -> None:
        """Raise the post's objects; their failure belongs to the requirements that need them."""
        try:
            await self.rig.once("seed", lambda: post.stand(self.rig))
        except (KubeError, VantageError, ClusterError, ExceptionGroup):
            return

    async def _bodies(self, possible: Sequence[Requirement]) -> None:
        limit = asyncio.Semaphore(self.jobs)

        async def together(requirement: Requirement) -> None:
            async with limit:
                await self._one(requirement)

        watch = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                # UDP's rows wait out silences: begun first, nobody waits for them in the end.
                for requirement in sorted(possible, key=lambda one: one.area != "UDP"):
                    if not requirement.disruptive:
                        group.create_task(together(requirement))
            for requirement in possible:
                if requirement.disruptive:
                    await self._one(requirement)
            await self._look()
        finally:
            watch.cancel()

    async def _one(self, requirement: Requirement) -> None:
        """Run one body to its end and record how it ended; then its verdict is told."""
        id, began = requirement.id, time.monotonic()
        self.progress.running[id] = None
        if not self.died and await self._until_dead(requirement):
            self.evidence.done(id, time.monotonic() - began)
        if await self._look():
            self.evidence.unknown(id, f"the implementation died: {self.died[0]}")
        await self._keep_rules(id)
        self._finish(id)

    async def _until_dead(self, requirement: Requirement) -> bool:
        """Run a body until it ends, patience ends, or the implementation is seen dead; True when it ended
        well.
        """
        patience = self.rig.timing.body.seconds
        body = asyncio.ensure_future(requirement.body(Lab(requirement.id, self.rig, self.evidence)))
        death = asyncio.create_task(self._dead.wait())
        try:
            await asyncio.wait({body, death}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not body.done():
                if not death.done():
                    said = f"no end within {patience:g} s; give more with --slower"
                    self.evidence.unknown(requirement.id, said)
                return False
        finally:
            death.cancel()
            body.cancel()
        problem = body.exception()
        if problem is not None:
            self._trouble(requirement.id, problem)
        return problem is None

    def _trouble(self, id: str, problem: BaseException) -> None:
        """Record an exception of a body by whose it is."""
        causes = list(_leaves(problem))
        gone = [cause for cause in causes if isinstance(cause, VantageError | ClusterError)]
        own = [cause for cause in causes if cause not in gone]
        if gone and not own:
            self.evidence.unknown(id, str(gone[0]))
            return
        cause = own[0]
        said = str(cause) if isinstance(cause, KubeError) else f"{type(cause).__name__}: {cause}"
        self.evidence.error(id, said, "".join(traceback.format_exception(cause)))

    async def _keep_rules(self, id: str) -> None:
        """Store rules and logs of every node beside the evidence of a failed requirement."""
        cluster = self.rig.cluster
        if not isinstance(cluster, CanSnapshot) or self.evidence.ruling(id).verdict is not Verdict.FAIL:
            return
        for node in self.rig.nodes:
            try:
                texts = await cluster.snapshot(node.name)
            except ClusterError as problem:
                self.evidence.step(id, f"no snapshot of {node.name}: {problem}")
                continue
            for name, text in texts.items():
                file = f"snapshots/{id}/{node.name}-{name.replace('/', '-')}.txt"
                path = self.evidence.path.parent / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                self.evidence.snapshot(id, node.name, name, file)

    def _finish(self, id: str) -> None:
        self._over.add(id)
        self.progress.running.pop(id, None)
        self.progress.done = len(self._over)
        self._ended(self.evidence.ruling(id))

    async def _watch(self) -> None:
        """Look again and again; bodies that are under way end as they do, and count as unknown."""
        while not await self._look():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._dead.wait(), WATCH)

    async def _look(self) -> bool:
        """True when a process of the implementation has ended by itself."""
        if not self.died and isinstance(self.rig.cluster, CanRunImplementation):
            self.died = await self.rig.cluster.dead()
            if self.died:
                self._dead.set()
        return bool(self.died)


def _leaves(problem: BaseException) -> Iterator[BaseException]:
    """The exceptions inside a group, or the one itself."""
    if isinstance(problem, BaseExceptionGroup):
        for inner in problem.exceptions:
            yield from _leaves(inner)
    else:
        yield problem
