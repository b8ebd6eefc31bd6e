"""Series that go on while something is done: agents on loopback, a listener that goes and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from clusters.base import Frame
from conformance import measuring, pool
from conformance.areas.lbl2 import planned_move
from conformance.arp import Arp
from conformance.checks import Verdict
from conformance.engine import Remembering
from conformance.evidence import Outcome, parse
from conformance.failover import unready
from conformance.features import Declaration
from conformance.kube import Answer, KubeError
from conformance.lab import Lab
from conformance.measuring import Measured, Witnessed, around, expect_gap, outage, record, udp
from conformance.probes import Probe
from conformance.selftest.fakes import FakeCluster, FakeRig, free_port, running_agent, vantage_of
from conformance.timing import Aim
from conformance.verdict import judge

ONE, TWO, VIP = "02:00:00:00:00:01", "02:00:00:00:00:02", "192.0.2.200"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A pen and a rig without a cluster."""
    evidence = Remembering(tmp_path / "evidence.jsonl")
    selected = {"id": "LB-L2-03", "level": "ext", "sentence": "It MUST be seen.", "area": "LB-L2"}
    evidence.header(run="test", started="2026-01-01T00:00:00+00:00", requirements=[selected])
    rig = FakeRig(FakeCluster())
    rig.now = evidence.now
    return Lab("LB-L2-03", rig, evidence)


@pytest.fixture
async def away(lab: Lab) -> AsyncIterator[Any]:
    """A prober, an echo, a way to make the echo be away for so many seconds, and how long it was in truth."""
    port = free_port()
    async with running_agent() as prober, running_agent(f"udp:{port}", nonce="echo") as echo:
        there = await vantage_of(echo, clock=lab.now)

        async def fault(seconds: float) -> float:
            await there.listen(remove=(f"udp:{port}",))
            at = time.monotonic()
            back.append(asyncio.create_task(again(seconds, at)))
            return at

        async def again(seconds: float, at: float) -> None:
            await asyncio.sleep(seconds)
            await there.listen(add=(f"udp:{port}",))
            truly.append(time.monotonic() - at)

        back: list[Any] = []
        truly: list[float] = []
        yield Aim(await vantage_of(prober, clock=lab.now), udp(("127.0.0.1", port))), fault, truly


def verdict(lab: Lab) -> Any:
    return lab.evidence.ruling(lab.id)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("bound", "right"), [(0.6, Verdict.PASS), (0.2, Verdict.FAIL)])
async def test_an_outage_is_measured_and_judged_by_its_bound(
    lab: Lab, away: Any, bound: Any, right: Any,
) -> None:
    aim, fault, truly = away
    seen = await around(lab, {"echo": aim}, lambda: fault(0.25), after=0.6, control=0.3)
    assert outage(seen, "echo") == pytest.approx(truly[0], abs=0.03)
    assert measuring.noise(seen, "echo") < 0.04
    record(lab, seen, "the echo is away")
    expect_gap(lab, seen, "echo", bound, "the echo is back")
    lab.evidence.done(lab.id, 1.0)
    assert verdict(lab).verdict is right
    lab.evidence.close(ended="")
    records = parse(lab.evidence.path.read_text().splitlines(keepends=True))
    assert judge(records).rulings[0].verdict is right
    told, = (one for one in records if one["type"] == "fault")
    assert told["at"] == pytest.approx(seen.acted, abs=1e-5)


def measured(lab: Lab, *frames: Frame) -> Measured:
    """A series of 100 datagrams, all answered, and what the switch is said to have seen."""
    outcomes = tuple(Outcome("answered", "b", at=n * 0.005, source=f"192.0.2.1:{n}") for n in range(100))
    aim = Aim(cast(Any, None), udp((VIP, 80)))
    return Measured(0.2, {"echo": (aim, outcomes)}, None, frames)


def test_a_switch_that_saw_something_else_makes_it_the_suites_error(lab: Lab) -> None:
    expect_gap(lab, measured(lab, Frame(0.0, "p", b"")), "echo", 0.6, "it is back")
    lab.evidence.done(lab.id, 1.0)
    found = verdict(lab)
    assert found.verdict is Verdict.SUITE_ERROR
    assert "the switch saw" in found.reason


def moved(*frames: Arp) -> Measured:
    return Measured(1.0, {}, Witnessed("192.0.2.9", (), frames), ())


def answer(at: float, mac: str) -> Arp:
    return Arp(at, 2, mac, VIP, "02:00:00:00:00:09", "192.0.2.9", "02:00:00:00:00:09")


def told(at: float, mac: str) -> Arp:
    return Arp(at, 1, mac, VIP, "ff:ff:ff:ff:ff:ff", VIP, "ff:ff:ff:ff:ff:ff")


@pytest.mark.parametrize(("frames", "right"), [
    ((answer(0.5, ONE), told(1.1, TWO), answer(1.5, TWO)), Verdict.PASS),
    ((answer(0.5, ONE), answer(1.5, TWO)), Verdict.FAIL),  # told nobody
    ((answer(0.5, ONE), told(1.1, ONE), answer(1.5, ONE)), Verdict.FAIL),  # did not move
    ((), Verdict.FAIL),
])
def test_a_move_needs_a_new_node_that_says_so(lab: Lab, frames: Any, right: Any) -> None:
    planned_move.told_by_the_new(lab, moved(*frames), VIP, ONE)
    lab.evidence.done(lab.id, 1.0)
    assert verdict(lab).verdict is right


async def test_held_connections_go_on_until_one_breaks() -> None:
    port = free_port()
    async with running_agent() as prober, running_agent(f"tcp:{port}", nonce="echo"):
        vantage = await vantage_of(prober)
        probe = Probe("held", ("127.0.0.1", port), count=3, concurrency=2, interval=0.01)
        seen = (await vantage.probe(probe)).outcomes
        assert [one.kind for one in seen] == ["answered"] * 6
        assert len({one.source for one in seen}) == 2
    async with running_agent() as prober:
        vantage = await vantage_of(prober)
        assert [one.kind for one in (await vantage.probe(probe)).outcomes] == ["refused"] * 2


async def test_a_held_connection_that_is_cut_ends_with_what_cut_it() -> None:
    port = free_port()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"nonce": "x", "peer": "p"}\n')
        await reader.readline()
        writer.close()

    async with running_agent() as prober, await asyncio.start_server(once, "127.0.0.1", port):
        vantage = await vantage_of(prober)
        probe = Probe("held", ("127.0.0.1", port), count=5, concurrency=1, interval=0.01)
        assert [one.kind for one in (await vantage.probe(probe)).outcomes] == ["answered", "closed"]


class Services:
    """A mirror in which nothing ever gets an address; each time it is asked it says so at once."""

    async def until(self, found: Any, within: float, what: str) -> Any:
        assert found({}) is None
        raise KubeError(f"{what}: not within {within:g} s")


class Api:
    """Takes what is created and answers with ``code``."""

    def __init__(self, code: int) -> None:
        self.code, self.made = code, list[Any]()

    async def attempt(self, made: Any, namespace: str = "") -> Answer:
        self.made.append(made)
        return Answer(self.code if made["kind"] == "ConfigMap" else 409, {})

    async def create(self, made: Any, namespace: str = "") -> Any:
        self.made.append(made)
        return {**made, "metadata": {**made["metadata"], "namespace": namespace}}


@pytest.mark.parametrize(("code", "size"), [(201, 26), (409, 0)])
async def test_the_posts_config_map_makes_the_pool_unless_there_is_one(
    lab: Lab, code: Any, size: Any,
) -> None:
    api = Api(code)
    lab.rig.kube = cast(Any, api)
    lab.rig.declaration = Declaration.from_mapping({"pool-config": "metallb-configmap"})
    lab.rig.services = Services  # type: ignore[method-assign,assignment]
    found = await pool.stand(lab.rig)
    assert found.size == size
    kinds = [one["kind"] for one in api.made]
    assert kinds == ["Namespace", "Service", "ConfigMap"]  # the Service waits before there is a pool
    assert "192.168.2.200-192.168.2.225" in api.made[2]["data"]["config"]
    assert found.early == "" and bool(found.waiting) is (size > 0)
    assert found.holds("192.168.2.200") and not found.holds("")
    assert found.holds("192.168.2.226") is (size == 0)


async def test_a_pool_that_is_given_is_left_alone(lab: Lab) -> None:
    assert (await pool.stand(lab.rig)).size == 0


def test_what_a_daemonset_has_on_a_node_that_is_not_ready_is_named() -> None:
    def pod(name: str, node: str, kind: str, ready: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "ownerReferences": [{"kind": kind}]}, "spec": {"nodeName": node},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}

    pods = [pod("speaker", "one", "DaemonSet", "False"), pod("proxy", "one", "DaemonSet", "True"),
            pod("web", "one", "ReplicaSet", "False"), pod("elsewhere", "two", "DaemonSet", "False")]
    assert unready([*pods, {"metadata": {"name": "waits"}, "spec": {}}], "one") == ["speaker"]
