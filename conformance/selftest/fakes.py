"""Stand-ins for the judge's own tests: agents in this process on loopback, and a rig without a cluster."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from clusters.base import ClusterError, Node
from conformance import agent
from conformance.engine import Engine, Remembering
from conformance.features import Declaration
from conformance.lab import Lab
from conformance.requirements import Level, Requirement
from conformance.rig import Rig
from conformance.timing import Timing
from conformance.vantage import Vantage
from conformance.verdict import Ruling

TOKEN = "token-of-the-test"


@dataclass
class Loopback:
    """A workload on a port of 127.0.0.1; ``gone`` makes it unreachable, ``answer`` replaces what it says."""

    port: int
    name: str = "agent"
    place: str = "here"
    gone: bool = False
    answer: tuple[int, bytes] | None = None

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, timeout: float,
    ) -> tuple[int, bytes]:
        if self.gone:
            raise ClusterError(f"{self.name}: no such pod")
        if self.answer is not None:
            return self.answer
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            answer = await asyncio.wait_for(reader.read(), timeout)
        finally:
            writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest


@asynccontextmanager
async def running_agent(
    *echo: str, nonce: str = "nonce-1", name: str = "agent", more: Sequence[str] = (),
) -> AsyncIterator[Loopback]:
    """An agent on loopback; gives its control port's workload."""
    argv = ["--control", "0", "--bind", "127.0.0.1", "--token", TOKEN, "--name", name, "--nonce", nonce]
    argv += more
    for one in echo:
        argv += ["--echo", one]
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(agent.serve(agent.parse(argv), port.set_result))
    done, _ = await asyncio.wait({task, port}, return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        task.result()
    try:
        yield Loopback(await port, name)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def now() -> float:
    """A clock for vantages: the loop's own."""
    return asyncio.get_running_loop().time()


async def vantage_of(workload: Loopback, *, clock: Callable[[], float] = now) -> Vantage:
    """A vantage that has said hello."""
    made = Vantage(workload.name, workload, TOKEN, clock)
    await made.hello()
    return made


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at this moment."""
    import socket

    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        return int(wire.getsockname()[1])


@dataclass
class FakeCluster:
    """A cluster of two nodes that can run an implementation and say that it died."""

    url: str = "fake://"
    kubeconfig: Path = Path("/nonexistent")
    namespace: str | None = None
    icmp_pause: float = 0.0
    restart_seconds: float = 0.8
    act_seconds: float = 0.0
    died: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=lambda: {"iptables-save": "*nat\nCOMMIT\n"})

    async def nodes(self) -> list[Node]:
        return [Node(f"node-{number}", (f"192.0.2.{number}",), ()) for number in (1, 2)]

    def pod(self, namespace: str, name: str, port: int) -> Any:
        raise ClusterError(f"no pod {namespace}/{name}")

    async def close(self) -> None:
        return

    async def provide(self, implementation: Any) -> None:
        return

    async def dead(self) -> list[str]:
        return self.died

    async def snapshot(self, node: str) -> dict[str, str]:
        return self.texts

    async def run_on(self, place: str, argv: Sequence[str], *, timeout: float) -> tuple[int, str, str]:
        return 0, "", ""


class FakeRig(Rig):
    """A rig that stands without a cluster: its clients are the vantages it is given."""

    def __init__(self, cluster: FakeCluster, clients: Sequence[Vantage] = (), *, timing: Timing | None = None,
                 trouble: Exception | None = None) -> None:
        self.cluster, self.given = cast(Any, cluster), list(clients)
        self.timing, self.declaration = timing or Timing(), Declaration()
        self.run, self.trouble, self.outside = "test", trouble, None
        self._shared, self.refusing = {}, asyncio.Lock()

    async def stand(self, needs: frozenset[str]) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.clients = self.given


_numbers = itertools.count(1)


def made(
    body: Callable[[Lab], Awaitable[None]], id: str = "", *, needs: Sequence[str] = (), features: Any = (),
    disruptive: bool = False,
) -> Requirement:
    """A requirement that no registry knows."""
    name = id or f"FAKE-{next(_numbers):02d}"
    return Requirement(
        name, Level.CORE, "It MUST be seen.", "this test", "FAKE", frozenset(needs), frozenset(features),
        disruptive, body,
    )


@dataclass
class Bench:
    """An engine over a fake rig, its evidence, and what it told."""

    engine: Engine
    evidence: Remembering
    told: dict[str, str]

    def reason(self, id: str) -> str:
        """The reason of a verdict."""
        return self.evidence.ruling(id).reason


def bench(
    folder: Path, selected: Sequence[Requirement], *, cluster: FakeCluster | None = None,
    clients: Sequence[Vantage] = (), timing: Timing | None = None, trouble: Exception | None = None,
    jobs: int = 4,
) -> Bench:
    """An engine that is ready to run ``selected``."""
    evidence = Remembering(folder / "evidence.jsonl")
    evidence.header(run="test", started="2026-01-01T00:00:00+00:00",
                    requirements=[one.as_record() for one in selected])
    told: dict[str, str] = {}
    rig = FakeRig(cluster or FakeCluster(), clients, timing=timing, trouble=trouble)
    rig.now = evidence.now

    def ended(one: Ruling) -> None:
        told[one.id] = one.verdict.value

    engine = Engine(rig, evidence, selected, jobs=jobs, ended=ended)
    return Bench(engine, evidence, told)


