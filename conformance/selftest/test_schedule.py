"""The longest gap and the time lost, on made-up outcomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies

from conformance.evidence import Outcome
from conformance.schedule import Schedule, longest_gap, lost_time


def good(outcome: Any) -> Any:
    return outcome.kind == "answered"


def row(marks: Any, interval: Any=0.1) -> Any:
    return [Outcome("answered" if mark == "." else "timeout", at=number * interval)
            for number, mark in enumerate(marks)]


@pytest.mark.parametrize(("marks", "gap"), [
    ("....", 0.0), ("..x..", 0.2), ("..xxx..", 0.4), ("xx..", 0.2), ("..xx", 0.2), ("xxxx", 0.3), ("x", 0.0),
    ("", 0.0), (".x.xx.", 0.3),
])
def test_the_longest_gap_runs_from_good_to_good(marks: Any, gap: Any) -> None:
    assert longest_gap(row(marks), good) == pytest.approx(gap)


def test_each_lost_attempt_stands_for_its_interval() -> None:
    assert lost_time(row("..xx.x"), good, 0.1) == pytest.approx(0.3)


@given(strategies.text(".x", max_size=60), strategies.randoms())
def test_the_order_of_records_does_not_matter(marks: Any, random: Any) -> None:
    rows = row(marks)
    shuffled = random.sample(rows, len(rows))
    assert longest_gap(shuffled, good) == longest_gap(rows, good)
    assert 0 <= longest_gap(rows, good) <= max(0, len(rows) - 1) * 0.1 + 1e-9


def test_a_schedule_has_a_count_and_an_interval() -> None:
    assert (Schedule(50, 2).count, Schedule(50, 2).interval) == (100, 0.02)
    assert Schedule(0.1, 1).count == 1


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (1, 0), (-1, 1)])
def test_an_empty_schedule_is_refused(rate: Any, seconds: Any) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Schedule(rate, seconds)
