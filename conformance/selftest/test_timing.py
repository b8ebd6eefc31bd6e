"""Durations, and settles and holds against a real agent."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.evidence import Outcome
from conformance.expectations import Answered, Refused
from conformance.probes import Probe
from conformance.selftest.fakes import free_port, now, running_agent, vantage_of
from conformance.timing import SETTLING, Aim, Duration, Timing, holds, rationed, settles


class Pen:
    """Writes down what a body would."""

    def __init__(self) -> None:
        self.series, self.expected = {}, []

    def now(self) -> Any:
        return now()

    def probed(self, series: Any, aim: Any, outcomes: Any) -> None:
        self.series.setdefault(series, []).extend(outcomes)

    def expect(self, kind: Any, series: Any, params: Any, says: Any) -> None:
        self.expected.append((kind, series))


def test_refusals_are_asked_for_no_faster_than_a_node_sends_them_to_one_host() -> None:
    pod, outside = (cast(Any, SimpleNamespace(name=name)) for name in ("client-0", "outside"))
    fresh = Probe("tcp", ("10.0.0.1", 80), count=50)
    fixed = Probe("udp", ("10.0.0.1", 80), source_port=9, timeout=2)
    aims = rationed([Aim(pod, fixed), Aim(outside, fresh), Aim(outside, fresh)], 1.1)
    assert [aim.probe.interval for aim in aims] == [2, 2.2, 2.2]
    assert [aim.probe.count for aim in aims] == [1, 15, 15]


def test_only_patience_is_scaled() -> None:
    slow, fast = Timing().slower(3), Timing()
    for field in fields(Timing):
        factor = 1 if getattr(fast, field.name).rule else 3
        assert getattr(slow, field.name).seconds == pytest.approx(getattr(fast, field.name).seconds * factor)


def test_every_duration_says_where_it_comes_from() -> None:
    assert all(getattr(Timing(), field.name).says for field in fields(Timing))


def test_patience_cannot_be_shortened() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Timing().slower(0.5)


def test_what_must_settle_can_be_made_stricter_and_nothing_else() -> None:
    strict, rule = Timing().stricter(0.2), Timing()
    for field in fields(Timing):
        before = getattr(rule, field.name).seconds
        wanted = before * 0.2 if field.name in SETTLING else before
        assert getattr(strict, field.name).seconds == pytest.approx(wanted)
    assert "times 0.2" in strict.serves.says
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="made harder"):
            Timing().stricter(wrong)


async def test_what_is_right_settles_and_holds() -> None:
    port, pen = free_port(), Pen()
    async with running_agent(f"tcp:{port}") as here:
        aims = [Aim(await vantage_of(here), Probe("tcp", ("127.0.0.1", port), count=30))]
        assert await settles(pen, "s", aims, Answered(), Duration(2, True, ""), "it answers")
        assert len(await holds(pen, "h", aims, Answered(), "it answers")) == 30
    settled = f"s, agent to 127.0.0.1:{port}/tcp"
    assert pen.expected == [("settles", settled), ("every", "h")]
    assert len(pen.series[settled]) == 10


async def test_what_never_comes_right_ends_at_the_bound() -> None:
    pen = Pen()
    async with running_agent() as here:
        aims = [Aim(await vantage_of(here), Probe("tcp", ("127.0.0.1", free_port())))]
        began = now()
        assert not await settles(pen, "s", aims, Answered(), Duration(0.3, True, ""), "it answers")
        assert 0.3 <= now() - began < 1.5


async def test_every_vantage_has_to_settle() -> None:
    port, pen = free_port(), Pen()
    async with running_agent(f"tcp:{port}") as here:
        there = await vantage_of(here)
        aims = [Aim(there, Probe("tcp", ("127.0.0.1", one))) for one in (port, free_port())]
        assert not await settles(pen, "s", aims, Answered(), Duration(0.2, True, ""), "both answer")
        assert await settles(pen, "r", aims[1:], Refused(), Duration(1, True, ""), "it refuses")


async def test_a_streak_under_way_at_the_bound_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = Outcome("answered"), Outcome("refused")

    class Place:
        """Wrong, and two right ones at the end of each command, until the bound is over."""

        name, uncertainty, asked = "here", 0.0, 0

        async def probe(self, probe: Any) -> Any:
            self.asked += 1
            pen.clock += 0.4
            return SimpleNamespace(outcomes=(wrong,) * 3 + (right,) * 2 if self.asked < 6 else (wrong,) * 5)

    class Clock(Pen):
        clock = 0.0

        def now(self) -> float:
            return self.clock

    pen, place = Clock(), Place()
    aims = [Aim(cast(Any, place), Probe("tcp", ("127.0.0.1", 1)))]
    assert not await settles(pen, "s", aims, Answered(), Duration(1, True, ""), "it answers")
    assert place.asked == 6, "three commands end at the bound, and go on while the streak is not broken"
