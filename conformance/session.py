"""One run from its options to its evidence: raise or reach the cluster, start what is judged, run, close.

    RunError          nothing could be judged, and not for a fault of this suite; exit status 3
"""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from clusters import commands, locate
from clusters.base import CanMend, CanRunImplementation, CanSnapshot, Cluster, ClusterError, Implementation
from conformance import kube, leftovers
from conformance.areas import load_areas
from conformance.engine import DiedAtStart, Engine, Remembering
from conformance.features import Declaration, DeclarationError
from conformance.kube import Kube, KubeError
from conformance.options import OptionError, Options
from conformance.profiles import ProfileError, profile
from conformance.requirements import Level, Requirement, RequirementError, registry, select
from conformance.rig import Rig
from conformance.timing import Timing
from conformance.verdict import Ruling

EVIDENCE = "evidence.jsonl"
DISPOSABLE = "netns:"  # clusters of this scheme end with the run; nothing in them is removed first
REFERENCE = "reference-iptables"  # judged in such a cluster when nothing is named
CLOSING = 1.5  # seconds for the cluster to close once the run was interrupted
_WORDS = "descriptors", "miniatures", "../ci/peers/descriptors"  # the last only in a checkout
_BAD_INPUT = (OptionError, RequirementError, ProfileError, DeclarationError, ClusterError)


class RunError(Exception):
    """Nothing can be judged: what is wrong and what to do next; ``log`` has the last lines of what failed."""

    def __init__(self, message: str, *, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = tuple(log)


@dataclass(frozen=True)
class Plan:
    """What will be run, all of it checked before anything is started."""

    options: Options
    selected: tuple[Requirement, ...]
    implementation: Implementation | None
    declaration: Declaration
    timing: Timing
    folder: Path
    command: str


def search_folders() -> list[Path]:
    """Where descriptors are found by name: beside the installed implementation, which is never imported."""
    found = importlib.util.find_spec("implementation")
    roots = list(found.submodule_search_locations or ()) if found else []
    return [Path(root) / word for root in roots for word in _WORDS]


def prepare(
    options: Options, *, folder: Path, command: str, chosen: Sequence[Requirement] | None = None,
) -> Plan:
    """Check every option and select the requirements, unless they are ``chosen`` already.

    A cluster that is raised for the run has nothing that serves, so there the reference is judged when
    nothing is named. Raises RunError with one sentence.
    """
    if options.cluster.startswith(DISPOSABLE) and not options.implementation:
        options = replace(options, implementation=REFERENCE)
    try:
        if chosen is None and not (chosen := chosen_requirements(options)):
            raise RequirementError("nothing is selected: no requirement is all that was asked for")
        name = options.implementation
        implementation, declaration = _described(name) if name else (None, Declaration())
        timing = Timing().slower(options.slower).stricter(options.stricter)
    except (*_BAD_INPUT, ValueError) as problem:
        raise RunError(str(problem)) from problem
    return Plan(options, tuple(chosen), implementation, declaration, timing, folder, command)


def declared(name: str) -> Declaration:
    """What the implementation of this name or file declares. Raises RunError with one sentence."""
    try:
        return _described(name)[1]
    except _BAD_INPUT as problem:
        raise RunError(str(problem)) from problem


def _described(name: str) -> tuple[Implementation, Declaration]:
    from clusters import implementations

    found = implementations.find(name, search_folders())
    return found, Declaration.from_mapping(found.features, where=found.name)


def chosen_requirements(options: Options) -> list[Requirement]:
    """The requirements that the options select, in ID order; raises RequirementError and ProfileError."""
    load_areas()
    try:
        levels = [Level(word) for word in options.level]
    except ValueError as problem:
        words = ", ".join(Level)
        raise RequirementError(f"there is no level {options.level!r}; levels are {words}") from problem
    found = select(registry(), ids=options.requirement, areas=options.area, levels=levels)
    if options.profile:
        found = [one for one in found if profile(options.profile).holds(one)]
    return found


async def carry_out(
    plan: Plan, *, ended: Callable[[Ruling], None] = lambda _: None,
    show: Callable[[str], None] = lambda _: None, every: float = 5.0,
) -> Path:
    """Run ``plan`` from nothing to its evidence; see ``standing`` and ``judged``."""
    async with standing(plan) as cluster:
        return await judged(cluster, plan, ended=ended, show=show, every=every)


@asynccontextmanager
async def standing(plan: Plan) -> AsyncIterator[Cluster]:
    """The cluster of ``plan``, with its implementation running where one was named; closed afterwards.

    Raises RunError when the cluster cannot be had or what is to be judged does not start.
    """
    warming = asyncio.get_running_loop().run_in_executor(None, kube.warm)
    cluster = await _cluster(plan)
    try:
        await warming
        yield cluster
    finally:
        with suppress(TimeoutError, ClusterError):
            async with asyncio.timeout(CLOSING if _interrupted() else plan.timing.cleanup.seconds):
                await cluster.close()


async def _cluster(plan: Plan) -> Cluster:
    """The cluster, with the implementation running where one was named."""
    try:
        cluster = await locate.locate(_url(plan.options), preload=_preload(plan.implementation))
    except ClusterError as problem:
        raise RunError(str(problem), log=problem.log) from problem
    try:
        if isinstance(cluster, CanMend) and (broken := await cluster.broken()):
            raise ClusterError(leftovers.mendable(broken, plan.options.cluster))
        if plan.implementation is not None and isinstance(cluster, CanRunImplementation):
            await cluster.provide(plan.implementation)  # elsewhere the descriptor says what is there already
    except BaseException as problem:
        await asyncio.shield(cluster.close())
        if isinstance(problem, ClusterError):
            raise RunError(str(problem), log=problem.log) from problem
        raise
    return cluster


def _url(options: Options) -> str:
    """The cluster's URL, with the folder of programs where the run raises it."""
    if not options.bin_dir or not options.cluster.startswith(DISPOSABLE):
        return options.cluster
    return f"{options.cluster}{'&' if '?' in options.cluster else '?'}bin-dir={quote(options.bin_dir)}"


def _preload(implementation: Implementation | None) -> list[str]:
    """The Python modules that the implementation's commands are in, so that a cluster loads them once."""
    if implementation is None:
        return []
    programs = (*implementation.per_node, *implementation.controllers)
    return sorted({one.python.partition(":")[0] for one in programs if one.python})


async def judged(
    cluster: Cluster, plan: Plan, *, ended: Callable[[Ruling], None] = lambda _: None,
    show: Callable[[str], None] = lambda _: None, every: float = 5.0,
) -> Path:
    """Run on a cluster that stands; gives the evidence's path, with its footer even when cancelled.

    ``ended`` is told each verdict, ``show`` the progress ``every`` seconds. Raises RunError when the API
    server cannot be reached.
    """
    client, version = await _api(cluster, plan)
    if not plan.options.cluster.startswith(DISPOSABLE):
        await _tell_leftovers(client, plan.options.cluster, show)
    run = secrets.token_hex(3)
    evidence = Remembering(_fresh(plan.folder) / EVIDENCE)
    evidence.header(run=run, **await asyncio.to_thread(_facts, plan, cluster, version))
    rig = Rig(
        cluster, client, run=run, image=plan.options.agent_image, timing=plan.timing,
        declaration=plan.declaration, now=evidence.now, nextcloud=plan.options.nextcloud_image,
    )
    engine = Engine(rig, evidence, plan.selected, jobs=plan.options.jobs, ended=ended)
    ticking = asyncio.create_task(_tick(engine, show, every))
    complete = False
    try:
        complete = await engine.run()
    except DiedAtStart as problem:
        said = f"{problem}, before anything was asked of it; see its log, and its command in the descriptor"
        raise RunError(said, log=await _last_words(cluster)) from problem
    finally:
        ticking.cancel()
        evidence.close(ended=_now(), interrupted=not complete)
        await rig.close(leave=not complete or plan.options.cluster.startswith(DISPOSABLE))
    return evidence.path


async def _api(cluster: Cluster, plan: Plan) -> tuple[Kube, str]:
    """A client that has reached the API server, and the version that this says of itself."""
    client = Kube(cluster.kubeconfig, timeout=plan.timing.request.seconds)
    try:
        await client.open()
        return client, str((await client.request("GET", "/version")).body.get("gitVersion", ""))
    except KubeError as problem:
        client.close()
        raise RunError(f"{plan.options.cluster}: {problem}") from problem


async def _tell_leftovers(client: Kube, cluster: str, show: Callable[[str], None]) -> None:
    """Say what killed runs left; where that cannot be listed nothing is said, as nothing hangs on it."""
    with suppress(KubeError):
        found = await leftovers.left(client, await leftovers.alive(client))
        if said := leftovers.sentence(found, cluster):
            show(said)


async def _last_words(cluster: Cluster) -> list[str]:
    """The last lines of the implementation's logs on the first node that has any."""
    if not isinstance(cluster, CanSnapshot):
        return []
    for node in await cast(Cluster, cluster).nodes():
        texts = (await cluster.snapshot(node.name)).items()
        lines = [line for name, text in texts if name.startswith("log/") for line in text.splitlines()]
        if lines:
            return lines[-20:]
    return []


async def _tick(engine: Engine, show: Callable[[str], None], every: float) -> None:
    while True:
        show(engine.progress.line())
        await asyncio.sleep(every)


def _fresh(folder: Path) -> Path:
    """The folder without what an earlier run left there; raises RunError when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (folder / EVIDENCE, *folder.glob("report.*"), folder / "junit.xml"):
            old.unlink(missing_ok=True)
    except OSError as problem:
        said = f"{folder}: {problem.strerror}; name a folder that can be written, with --out"
        raise RunError(said) from problem
    shutil.rmtree(folder / "snapshots", ignore_errors=True)
    return folder


def _facts(plan: Plan, cluster: Cluster, version: str) -> dict[str, Any]:
    """What the header says besides the run's ID: enough to repeat the run."""
    commit, dirty = _commit()
    chosen = plan.implementation
    return {
        "started": _now(), "suite": _suite(), "commit": commit, "dirty": dirty, "command": plan.command,
        "kernel": platform.release(), "machine": platform.machine(), "python": platform.python_version(),
        "cluster": plan.options.cluster or cluster.url, "kubernetes": version,
        "implementation": {
            "name": chosen.name if chosen else "", "version": chosen.version if chosen else "",
            "url": chosen.url if chosen else "", "features": plan.declaration.to_json(),
        },
        "options": plan.options.told(), "requirements": [one.as_record() for one in plan.selected],
    }


def _commit() -> tuple[str, bool]:
    """Commit of the suite and whether its files differ from it; nothing known outside a checkout."""
    here = ["git", "-C", str(Path(__file__).parent)]
    head = commands.run([*here, "rev-parse", "HEAD"], timeout=2)
    if head.status != 0:
        return "", False
    return head.output.strip(), bool(commands.run([*here, "status", "--porcelain"], timeout=5).output.strip())


def _suite() -> str:
    try:
        return metadata.version("service-conformance")
    except metadata.PackageNotFoundError:
        return "uninstalled"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _interrupted() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

