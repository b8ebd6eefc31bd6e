"""Changes beside series that go on, numbers nobody gets by chance, and what may become of a closed port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from conformance import expectations, ranges
from conformance.checks import Verdict
from conformance.engine import Remembering
from conformance.expectations import Answered
from conformance.kube import Answer, KubeError
from conformance.lab import Lab
from conformance.meanwhile import COUNT, meanwhile
from conformance.probes import Probe
from conformance.selftest.fakes import FakeCluster, FakeRig, free_port, running_agent, vantage_of
from conformance.timing import Aim


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A pen and a rig without a cluster."""
    evidence = Remembering(tmp_path / "evidence.jsonl")
    selected = {"id": "CLUSTERIP-11", "level": "core", "sentence": "It MUST be seen.", "area": "CLUSTERIP"}
    evidence.header(run="test", started="2026-01-01T00:00:00+00:00", requirements=[selected])
    rig = FakeRig(FakeCluster())
    rig.now = evidence.now
    found = Lab("CLUSTERIP-11", rig, evidence)

    async def namespace() -> str:
        return "conf-test"

    vars(found)["namespace"] = namespace
    return found


@pytest.fixture
async def echo(lab: Lab) -> AsyncIterator[tuple[Aim, Any]]:
    """A prober's aim at an echo, and the echo's own vantage."""
    port = free_port()
    async with running_agent() as prober, running_agent(f"tcp:{port}", nonce="echo") as there:
        probe = Probe("tcp", ("127.0.0.1", port), timeout=0.5)
        yield Aim(await vantage_of(prober, clock=lab.now), probe), await vantage_of(there, clock=lab.now)


@pytest.mark.parametrize(("away", "right"), [(False, Verdict.PASS), (True, Verdict.FAIL)])
async def test_what_is_lost_meanwhile_is_seen(lab: Lab, echo: Any, away: Any, right: Any) -> None:
    aim, there = echo
    async with meanwhile(lab, "meanwhile", [aim], Answered(by=frozenset({"echo"})), "it answers"):
        if away:
            await there.listen(remove=(f"tcp:{aim.probe.target[1]}",))
    lab.evidence.done(lab.id, 1.0)
    ruling = lab.evidence.ruling(lab.id)  # type: ignore[attr-defined]
    assert ruling.verdict is right
    assert ruling.checks[0]["numbers"]["n"] >= COUNT


async def test_trouble_in_the_block_ends_the_series_and_is_told(lab: Lab, echo: Any) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with meanwhile(lab, "meanwhile", [echo[0]], Answered(), "it answers"):
            raise KubeError("refused")
    assert raised.group_contains(KubeError)


class Api:
    """Has one Service, and says its ranges as an API server does."""

    async def request(self, method: str, path: str, body: Any = None) -> Answer:
        specs: dict[str, list[Any]] = {
            "/api/v1/services": [{"spec": {"clusterIPs": ["10.43.0.1"], "ports": [{"nodePort": 30003}]}}],
            "/apis/networking.k8s.io/v1/servicecidrs": [{"spec": {"cidrs": ["10.43.0.0/16"]}}],
        }
        return Answer(200, {"items": specs[path]})

    async def attempt(self, made: Any, namespace: str = "") -> Answer:
        return Answer(422, {"message": "not in the valid range. The range of valid ports is 30000-32767"})


async def test_numbers_of_the_lower_part_are_given_once_each_and_never_one_that_is_taken(lab: Lab) -> None:
    lab.rig.kube = cast(Any, Api())
    ports = [await ranges.free_port(lab) for _ in range(ranges.LOWEST - 1)]
    addresses = [await ranges.free_address(lab) for _ in range(ranges.LOWEST - 1)]
    assert sorted(ports) == [number for number in range(30000, 30016) if number != 30003]
    assert sorted(addresses) == sorted(f"10.43.0.{number}" for number in range(2, 17))
    with pytest.raises(KubeError, match="no node port of the lowest 16 is free"):
        await ranges.free_port(lab)


@pytest.mark.parametrize(("conduct", "accepted"), [
    ("reject", {"refused"}), ("drop", {"timeout"}),
    ("routed", {"refused", "reset", "timeout", "unreachable", "closed"}),
    ("", {"refused", "reset", "timeout", "unreachable", "closed"}),
])
def test_a_port_that_no_service_has_ends_as_declared_and_never_answered(conduct: Any, accepted: Any) -> None:
    assert expectations.beside(conduct).kinds == accepted
    assert expectations.nobody(conduct).kinds == ({"timeout"} if conduct == "drop" else {"refused"})
