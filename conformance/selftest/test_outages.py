"""Gaps, outages and controls, on made-up marks; and the verdict that is drawn from them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies

from conformance.checks import Attempt, ParameterError, Verdict
from conformance.evidence import Outcome
from conformance.kinds import longest_gap
from conformance.outages import Mark, gaps, lost, measure

STEP = 0.005


def marks(text: str, step: float = STEP) -> list[Mark]:
    """A good mark for each dot, a lost one for each x; a blank is an instant at which nothing was sent."""
    return [Mark(n * step, sign == ".") for n, sign in enumerate(text) if sign != " "]


def attempts(text: str, step: float = STEP) -> list[Attempt]:
    """The same as a series."""
    return [Attempt(Outcome("answered" if mark.good else "timeout", by="a" if mark.good else "", at=mark.at))
            for mark in marks(text, step)]


def judged(text: str, *, since: float, bound: float = 0.6, step: float = STEP) -> Any:
    return longest_gap(attempts(text, step), {"bound": bound, "since": since, "interval": step})


@pytest.mark.parametrize(("text", "seconds", "outage"), [
    ("..x..", 0.2, 0.1), ("..xxx..", 0.4, 0.3), ("xx..", 0.2, 0.2), ("..xx", 0.2, 0.1), (".x.xx.", 0.3, 0.2),
])
def test_a_gap_runs_from_good_to_good_and_an_outage_from_the_first_lost(
    text: Any, seconds: Any, outage: Any,
) -> None:
    longest = max(gaps(marks(text, 0.1)), key=lambda gap: gap.seconds)
    assert longest.seconds == pytest.approx(seconds)
    assert longest.outage == pytest.approx(outage)


def test_nothing_lost_is_no_gap_and_an_open_end_is_told() -> None:
    assert gaps(marks("....")) == gaps([]) == []
    assert not gaps(marks("..xx"))[-1].closed
    assert lost(marks("..xx.x"), 0.1) == pytest.approx(0.3)


@given(strategies.text(".x", max_size=60), strategies.randoms())
def test_the_order_of_records_does_not_matter(text: Any, random: Any) -> None:
    rows = marks(text)
    shuffled = random.sample(rows, len(rows))
    assert gaps(shuffled) == gaps(rows)
    assert sum(gap.outage for gap in gaps(rows) if gap.closed) <= len(rows) * STEP


@pytest.mark.parametrize("true", [0.05, 0.1, 0.3, 1.0])
def test_an_outage_reads_within_one_interval_of_what_it_was(true: float) -> None:
    """Wherever it begins between two attempts."""
    for phase in (0.0001, 0.0025, 0.0049):
        began = 0.5 + phase
        rows = [Mark(at, not began <= at < began + true) for at in (n * STEP for n in range(600))]
        longest = measure(rows, began).longest
        assert longest is not None and abs(longest.outage - true) <= STEP + 1e-9


def test_what_was_lost_before_the_fault_is_the_controls() -> None:
    seen = measure(marks(".xx......xxx...."), since=8 * STEP)
    assert seen.control == pytest.approx(3 * STEP)
    assert [gap.began for gap in seen.gaps] == [pytest.approx(9 * STEP)]


def test_a_gap_that_is_open_at_the_fault_is_the_faults_and_its_beginning_noise() -> None:
    seen = measure(marks("....xxxxxxx.."), since=6 * STEP)
    assert seen.control == pytest.approx(3 * STEP)
    assert len(seen.gaps) == 1


def test_a_prober_that_stood_still_is_noise() -> None:
    assert measure(marks("....      ...."), since=2 * STEP).still == pytest.approx(7 * STEP)


def test_a_short_outage_passes_and_every_number_is_told() -> None:
    check = judged("." * 100 + "x" * 50 + "." * 50 + "xx" + "." * 50, since=0.5)
    assert check.verdict is Verdict.PASS
    assert check.numbers["longest_gap_s"] == pytest.approx(0.255)
    assert check.numbers["outage_s"] == pytest.approx(0.25)
    assert check.numbers["lost_s"] == pytest.approx(0.26)
    assert check.numbers["gaps"] == 2
    assert check.numbers["healed_s"] == pytest.approx(0.51)
    assert check.numbers["control_gap_s"] == 0.0


def test_a_long_outage_fails_and_so_does_one_without_end() -> None:
    assert judged("." * 100 + "x" * 140 + "." * 20, since=0.5).verdict is Verdict.FAIL
    check = judged("." * 100 + "x" * 140, since=0.5)
    assert check.verdict is Verdict.FAIL
    assert "never again" in check.actual


def test_a_noisy_control_refuses_every_verdict() -> None:
    """Above a fifth of the bound, be the outage short or long."""
    noisy = "." * 50 + "x" * 30 + "." * 20
    for after in ("." * 100, "x" * 140 + "." * 20):
        check = judged(noisy + after, since=0.5)
        assert check.verdict is Verdict.UNKNOWN
        assert "off by 0.155 s" in check.actual


def test_a_prober_that_stood_still_leaves_only_what_it_cannot_have_changed() -> None:
    """A gap of 0.7 s may be 0.2 s of standstill, one of 1.2 s may not; 0.7 s may hide anything."""
    for signs, right in (
        ("x" * 30 + " " * 40 + "." * 20, Verdict.PASS), ("x" * 100 + " " * 40 + "." * 20, Verdict.UNKNOWN),
        ("x" * 200 + " " * 40 + "." * 20, Verdict.FAIL), ("." * 5 + " " * 140 + "." * 20, Verdict.UNKNOWN),
    ):
        assert judged("." * 100 + signs, since=0.5).verdict is right


def test_a_fault_without_attempts_on_both_sides_is_the_suites_mistake() -> None:
    for since in (-1.0, 9.0):
        with pytest.raises(ParameterError):
            judged("....", since=since)
