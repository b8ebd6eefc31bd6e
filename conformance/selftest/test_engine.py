"""Every way a requirement can end, with a fake cluster and agents in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conformance.evidence import read
from conformance.expectations import Answered, Refused
from conformance.features import Feature
from conformance.kube import KubeError
from conformance.lab import each
from conformance.probes import Probe
from conformance.requirements import registry
from conformance.selftest.fakes import FakeCluster, bench, free_port, made, running_agent, vantage_of
from conformance.timing import Aim, Duration, Timing
from conformance.vantage import VantageGone


async def checks(lab: Any) -> None:
    lab.value("seen", 1)
    lab.expect_value("equals", "seen", {"expected": 1}, "one is seen")


async def fails(lab: Any) -> None:
    lab.value("seen", 2)
    lab.expect_value("equals", "seen", {"expected": 1}, "one is seen")


async def hangs(lab: Any) -> None:
    await asyncio.Event().wait()


async def run(table: Any) -> Any:
    complete = await asyncio.wait_for(table.engine.run(), 10)
    table.evidence.close(ended="", interrupted=not complete)
    return complete


async def test_what_holds_passes_and_what_does_not_fails(tmp_path: Any) -> None:
    table = bench(tmp_path, [made(checks, "FAKE-91"), made(fails, "FAKE-92")])
    assert await run(table)
    assert table.told == {"FAKE-91": "pass", "FAKE-92": "fail"}
    assert read(tmp_path / "evidence.jsonl")[-1]["interrupted"] is False


async def test_an_exception_of_a_body_is_the_suites_error_with_its_traceback(tmp_path: Any) -> None:
    async def breaks(lab: Any) -> None:
        raise LookupError("no such thing")

    table = bench(tmp_path, [made(breaks, "FAKE-91")])
    await run(table)
    error, = (record for record in read(tmp_path / "evidence.jsonl") if record["type"] == "error")
    assert table.told == {"FAKE-91": "suite-error"}
    assert "LookupError: no such thing" in error["reason"]
    assert "in breaks" in error["traceback"]


async def test_a_refusal_of_the_suites_own_object_is_the_suites_error(tmp_path: Any) -> None:
    async def refused(lab: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self_refused())

    async def self_refused() -> None:
        raise KubeError("create Pod x: 403: quota")

    table = bench(tmp_path, [made(refused, "FAKE-91")])
    await run(table)
    assert table.told == {"FAKE-91": "suite-error"}
    assert "quota" in table.reason("FAKE-91")


async def test_a_body_that_checks_nothing_is_the_suites_error(tmp_path: Any) -> None:
    async def nothing(lab: Any) -> None:
        lab.step("looked away")

    table = bench(tmp_path, [made(nothing, "FAKE-91")])
    await run(table)
    assert "checked nothing" in table.reason("FAKE-91")


async def test_a_dead_agent_makes_it_unknown(tmp_path: Any) -> None:
    async def asks(lab: Any) -> None:
        await lab.serves("s", each(lab.clients, Probe("tcp", ("127.0.0.1", 1))), Answered(), "it answers")

    async with running_agent() as here:
        client = await vantage_of(here)
        here.gone = True
        table = bench(tmp_path, [made(asks, "FAKE-91")], clients=[client])
        await run(table)
    assert table.told == {"FAKE-91": "unknown"}
    assert "does not answer" in table.reason("FAKE-91")


async def test_probes_from_a_real_agent_become_evidence_and_a_verdict(tmp_path: Any) -> None:
    port = free_port()

    async def asks(lab: Any) -> None:
        probe = Probe("tcp", ("127.0.0.1", port), count=20)
        await lab.serves("right", each(lab.clients, probe), Answered(by=frozenset({"nonce-1"})), "it answers")
        nobody = each(lab.clients, probe.to("127.0.0.1", free_port()))
        await lab.serves("empty", nobody, Refused(), "it refuses")

    async def strangers(lab: Any) -> None:
        probe = Probe("tcp", ("127.0.0.1", port), count=5)
        seen = await lab.probe("s", lab.clients[0], probe)
        lab.expect("every", "s", {"acceptable": Answered(by=frozenset({"other"})).to_json()}, "it answers")
        assert len(seen.outcomes) == 5

    async with running_agent(f"tcp:{port}") as here:
        selected = [made(asks, "FAKE-91"), made(strangers, "FAKE-92")]
        table = bench(tmp_path, selected)
        table.engine.rig.given.append(await vantage_of(here, clock=table.evidence.now))
        await run(table)
    assert table.told == {"FAKE-91": "pass", "FAKE-92": "fail"}
    finding = table.evidence.ruling("FAKE-92").findings[0]
    assert "stranger" in finding.actual
    assert finding.where.startswith("agent")


@pytest.mark.parametrize(("echo", "sent"), [("udp", {"tcp"}), ("tcp", {"tcp", "udp"})])
async def test_datagrams_wait_until_streams_are_served(tmp_path: Any, echo: str, sent: set[str]) -> None:
    port = free_port()

    async def asks(lab: Any) -> None:
        probes = [Probe(word, ("127.0.0.1", port), count=5, timeout=0.2) for word in ("udp", "tcp")]
        aims = [Aim(lab.clients[0], probe) for probe in probes]
        await lab.serves("s", aims, Answered(), "it answers", within=Duration(0.5, True, "a short while"))

    async with running_agent(f"{echo}:{port}") as here:
        table = bench(tmp_path, [made(asks, "FAKE-91")])
        table.engine.rig.given.append(await vantage_of(here, clock=table.evidence.now))
        await run(table)
    probed = [one["protocol"] for one in read(tmp_path / "evidence.jsonl") if one["type"] == "probes"]
    assert table.told == {"FAKE-91": "fail"}
    assert (set(probed), probed[0]) == (sent, "tcp")


async def test_what_the_cluster_lacks_or_nobody_declares_is_unsupported(tmp_path: Any) -> None:
    selected = [made(checks, "FAKE-91", needs={"outside"}),
                made(checks, "FAKE-92", features={Feature.SCTP}),
                made(checks, "FAKE-93", needs={"two-nodes"})]
    table = bench(tmp_path, selected)
    await run(table)
    assert table.told == {"FAKE-91": "unsupported", "FAKE-92": "unsupported", "FAKE-93": "pass"}
    assert "a place outside" in table.reason("FAKE-91")
    assert "sctp" in table.reason("FAKE-92")


async def test_a_rig_that_does_not_stand_makes_all_unknown(tmp_path: Any) -> None:
    group = ExceptionGroup("", [VantageGone("client-0 is gone")])
    table = bench(tmp_path, [made(checks, "FAKE-91"), made(checks, "FAKE-92")], trouble=group)
    await run(table)
    assert set(table.told.values()) == {"unknown"}
    assert "client-0 is gone" in table.reason("FAKE-91")


async def test_a_body_without_end_is_unknown_after_patience(tmp_path: Any) -> None:
    timing = Timing()
    object.__setattr__(timing, "body", type(timing.body)(0.1, False, ""))
    table = bench(tmp_path, [made(hangs, "FAKE-91"), made(checks, "FAKE-92")], timing=timing)
    await run(table)
    assert table.told == {"FAKE-91": "unknown", "FAKE-92": "pass"}
    assert "--slower" in table.reason("FAKE-91")


async def test_cancelling_ends_at_once_and_records_the_rest_as_not_run(tmp_path: Any) -> None:
    hung = asyncio.Event()

    async def last(lab: Any) -> None:
        hung.set()
        await hangs(lab)

    selected = [made(checks, "FAKE-91"), made(hangs, "FAKE-92"), made(last, "FAKE-93")]
    table = bench(tmp_path, selected, jobs=2)
    task = asyncio.create_task(table.engine.run())
    await hung.wait()
    task.cancel()
    assert await asyncio.wait_for(task, 2) is False
    table.evidence.close(ended="", interrupted=True)
    assert table.told == {"FAKE-91": "pass", "FAKE-92": "not-run", "FAKE-93": "not-run"}
    assert read(tmp_path / "evidence.jsonl")[-1]["interrupted"] is True


async def test_an_implementation_that_dies_makes_the_rest_unknown_and_is_named(tmp_path: Any) -> None:
    cluster = FakeCluster()

    async def kills(lab: Any) -> None:
        await checks(lab)
        cluster.died = ["kube-proxy on node-1 ended with status 3"]

    bodies = (checks, kills, hangs, checks)
    selected = [made(body, f"FAKE-9{number}") for number, body in enumerate(bodies, 1)]
    table = bench(tmp_path, selected, cluster=cluster, jobs=1)
    await run(table)
    assert table.told == {"FAKE-91": "pass"} | dict.fromkeys(["FAKE-92", "FAKE-93", "FAKE-94"], "unknown")
    assert "kube-proxy on node-1 ended with status 3" in table.reason("FAKE-94")


async def test_a_failure_seen_before_the_death_stays_a_failure(tmp_path: Any) -> None:
    cluster = FakeCluster()

    async def kills(lab: Any) -> None:
        await fails(lab)
        cluster.died = ["gone"]

    table = bench(tmp_path, [made(kills, "FAKE-91")], cluster=cluster)
    await run(table)
    assert table.told == {"FAKE-91": "fail"}


async def test_a_death_is_noticed_while_a_body_waits(tmp_path: Any) -> None:
    cluster = FakeCluster()

    async def waits(lab: Any) -> None:
        cluster.died = ["gone"]
        await hangs(lab)

    table = bench(tmp_path, [made(waits, "FAKE-91")], cluster=cluster)
    await run(table)
    assert table.told == {"FAKE-91": "unknown"}


async def test_disruptive_bodies_run_alone_and_last(tmp_path: Any) -> None:
    running, most = set(), []

    def watched(name: Any, disruptive: Any) -> Any:
        async def body(lab: Any) -> Any:
            running.add(name)
            most.append((disruptive, len(running)))
            for _ in range(5):
                await asyncio.sleep(0)
            running.discard(name)
            await checks(lab)

        return made(body, name, disruptive=disruptive)

    selected = [watched("FAKE-91", True), watched("FAKE-92", False), watched("FAKE-93", False),
                watched("FAKE-94", True)]
    await run(bench(tmp_path, selected))
    assert [one for one in most if one[0]] == [(True, 1), (True, 1)]
    assert max(count for disruptive, count in most if not disruptive) == 2
    assert most[-1][0] and most[-2][0]


async def test_rules_of_every_node_are_kept_when_it_fails(tmp_path: Any) -> None:
    table = bench(tmp_path, [made(fails, "FAKE-91"), made(checks, "FAKE-92")])
    await run(table)
    stored = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt"))
    assert stored == [f"snapshots/FAKE-91/node-{number}-iptables-save.txt" for number in (1, 2)]


async def test_progress_tells_count_current_and_time_left(tmp_path: Any) -> None:
    table = bench(tmp_path, [made(checks, "FAKE-91"), made(checks, "FAKE-92")])
    assert table.engine.progress.line().startswith("0/2 setting up")
    await run(table)
    assert "2/2" in table.engine.progress.line()
    assert "0 s left" in table.engine.progress.line()


def test_fakes_stay_out_of_the_registry() -> None:
    assert not [id for id in registry() if id.startswith("FAKE")]


@pytest.mark.parametrize("count", [1, 7])
async def test_many_bodies_share_the_jobs(tmp_path: Any, count: Any) -> None:
    table = bench(tmp_path, [made(checks, f"FAKE-{10 + number}") for number in range(20)], jobs=count)
    await run(table)
    assert set(table.told.values()) == {"pass"}
    assert len(table.told) == 20
