"""Each kind of expectation passes what holds, fails what does not, and says why and by which attempt."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from conformance.evidence import Outcome, Record
from conformance.kinds import SERIES
from conformance.selftest.runs import ANSWERED, done, expect, probes, run, series, value
from conformance.values import VALUES
from conformance.verdict import Ruling, Verdict, judge

AB: Record = {"backends": ["a", "b"]}
GAP: Record = {"bound": 0.3}
LOST: Record = {"bound": 0.15, "interval": 0.1}
SETTLES: Record = {**ANSWERED, "within": 0.25, "since": 0.0}


def ruled(kind: str, params: Record, outcomes: list[Outcome]) -> Ruling:
    return judge(run(probes(outcomes), expect(kind, params), done())).rulings[0]


def split(a: int, b: int, seed: int = 1) -> list[str]:
    words = ["a"] * a + ["b"] * b
    random.Random(seed).shuffle(words)
    return words


@pytest.mark.parametrize(
    ("kind", "params", "seen", "verdict", "said"),
    [
        ("every", ANSWERED, ["ok"] * 300, "pass", ""),
        (
            "every",
            ANSWERED,
            ["ok", "timeout", "refused", "timeout"],
            "fail",
            "3 of 4 not acceptable: 2 × timeout, 1 × r",
        ),
        (
            "every",
            {"acceptable": {"answered": {"by": ["a"]}}},
            ["a", "x", "a"],
            "fail",
            "answered by a stranger: x",
        ),
        ("every", {"acceptable": {"ended": ["refused"]}}, ["refused"] * 3, "pass", ""),
        ("every", ANSWERED, ["ok", "error"], "unknown", "the prober itself failed at 1 of 2"),
        ("every", ANSWERED, ["error", "timeout"], "fail", "timed out"),
        ("settles", SETTLES, ["timeout", "timeout", "ok", "ok"], "pass", ""),
        ("settles", SETTLES, ["ok", "ok"], "pass", ""),
        ("settles", {**SETTLES, "streak": 3}, ["timeout", "ok", "ok"], "fail", "only the last 2 of 3"),
        ("settles", {**SETTLES, "streak": 2}, ["timeout", "ok", "ok"], "pass", ""),
        ("settles", SETTLES, ["ok", "timeout", "ok", "timeout", "ok"], "fail", "settled after 0.400 s"),
        ("settles", SETTLES, ["ok", "ok", "timeout"], "fail", "never: no answer"),
        ("settles", {**SETTLES, "since": 0.2}, ["timeout", "timeout", "ok"], "pass", ""),
        (
            "settles",
            {**SETTLES, "since": 0.1},
            ["ok", "timeout", "error", "ok"],
            "unknown",
            "the prober itself failed",
        ),
        ("settles", SETTLES, ["error"], "unknown", "the prober itself failed"),
        ("settles", {**SETTLES, "since": 5}, ["ok"], "suite-error", "no attempt was sent after 5 s"),
        ("shares", AB, split(810, 810), "pass", ""),
        ("shares", AB, split(972, 648), "fail", "shares 60.0% / 40.0% of 1620"),
        ("shares", AB, split(50, 50), "unknown", "too few to say"),
        ("shares", AB, split(100, 0), "fail", "shares 100.0% / 0.0%"),
        ("shares", AB, [*split(810, 810), "x"], "fail", "answered by a stranger: x; 1 of 1621"),
        ("shares", AB, [*split(810, 810), "reset"], "fail", "reset by the peer"),
        ("shares", AB, [*split(810, 810), "error"], "unknown", "the prober itself failed"),
        ("shares", {"backends": ["a"]}, ["a"], "pass", ""),
        ("shares", {**AB, "minimum": 20}, split(13, 7), "fail", "a took 65.0%"),
        ("covers", AB, ["a", "b"], "pass", ""),
        ("covers", AB, ["a"] * 21, "fail", "1 of 2 backends answered 21 attempts; never b"),
        ("covers", AB, ["a"] * 20, "unknown", "21 attempts are enough to say"),
        ("covers", AB, ["a", "b", "x"], "fail", "stranger: x"),
        ("covers", AB, ["a", "b", "timeout"], "fail", "timed out"),
        ("covers", AB, ["a", "b", "error"], "unknown", "prober"),
        ("covers", AB, ["error"], "unknown", "0 of 2 backends"),
        ("single", {}, ["a", "a"], "pass", ""),
        ("single", {}, ["a", "a", "b"], "fail", "a at first, then b"),
        ("single", {}, ["a", "refused"], "fail", "refused"),
        ("single", {}, ["a"], "unknown", "fewer than two"),
        ("single", AB, ["x", "x"], "fail", "stranger: x"),
        ("single", {}, ["a", "a", "error"], "unknown", "prober"),
        ("longest_gap", GAP, ["ok"] * 5, "pass", ""),
        ("longest_gap", GAP, ["ok", "timeout", "timeout", "ok"], "pass", ""),
        ("longest_gap", GAP, ["ok", "timeout", "timeout", "timeout", "ok"], "fail", "longest gap 0.400 s"),
        ("longest_gap", GAP, ["timeout"], "fail", "never as it must be"),
        ("longest_gap", GAP, ["ok", *["timeout"] * 5], "fail", "longest gap 0.500 s"),
        ("longest_gap", GAP, ["ok", "error", "ok"], "unknown", "prober"),
        (
            "longest_gap",
            {**GAP, "acceptable": {"ended": ["refused"]}},
            ["refused", "ok", "refused"],
            "pass",
            "",
        ),
        ("lost", LOST, ["ok", "timeout", "ok"], "pass", ""),
        ("lost", LOST, ["timeout", "ok", "timeout"], "fail", "0.200 s lost, 2 of 3"),
        ("lost", LOST, ["ok", "error"], "unknown", "prober"),
    ],
)
def test_a_series_is_judged(kind: str, params: Record, seen: list[str], verdict: str, said: str) -> None:
    ruling = ruled(kind, params, series(*seen))
    assert ruling.verdict == verdict
    told = ruling.findings[0].actual if ruling.findings else ruling.reason
    assert said in told


@pytest.mark.parametrize(
    ("kind", "params", "seen", "holds"),
    [
        ("equals", {"expected": {"code": 422, "reason": ["a"]}}, {"reason": ["a"], "code": 422}, True),
        ("equals", {"expected": 1}, True, False),
        ("equals", {"expected": None}, None, True),
        ("equals", {"expected": [1, 2]}, [2, 1], False),
        ("one_of", {"expected": ["a", 2]}, 2, True),
        ("one_of", {"expected": ["a", 2]}, "b", False),
        (
            "includes",
            {"expected": {"code": 422, "in": {"x": 1}}},
            {"code": 422, "in": {"x": 1, "y": 2}, "z": 0},
            True,
        ),
        ("includes", {"expected": {"code": 422}}, {"code": 409}, False),
        ("includes", {"expected": {"code": 422}}, "422", False),
        ("includes", {"expected": ["a", "b"]}, ["b", "c", "a"], True),
        ("includes", {"expected": "a"}, ["b"], False),
        ("includes", {"expected": [{"n": 1}]}, [{"n": 1, "m": 2}], True),
        ("includes", {"expected": "already allocated"}, "provided port is already allocated", True),
        ("includes", {"expected": "not valid"}, "provided port is already allocated", False),
        (
            "matches",
            {"pattern": r"range of valid ports is \d+-\d+"},
            "The range of valid ports is 30000-32767",
            True,
        ),
        ("matches", {"pattern": "^30000"}, "The range of valid ports is 30000-32767", False),
        ("matches", {"pattern": r'"code": 422'}, {"code": 422}, True),
    ],
)
def test_a_value_is_judged(kind: str, params: Record, seen: Any, holds: bool) -> None:
    ruling = judge(run(value(seen), expect(kind, params, name="v"), done())).rulings[0]
    assert ruling.verdict == ("pass" if holds else "fail")
    if not holds:
        assert ruling.findings[0].where == "v"


def test_every_value_of_the_name_must_hold() -> None:
    records = run(value(1), value(2), expect("equals", {"expected": 1}, name="v"), done())
    assert judge(records).rulings[0].verdict is Verdict.FAIL


def test_there_are_at_most_twelve_kinds_and_every_one_is_tested_both_ways() -> None:
    assert len(SERIES) + len(VALUES) <= 12
    tested: dict[str, set[str]] = {}
    for marked in (test_a_series_is_judged, test_a_value_is_judged):
        for case in marked.pytestmark[0].args[1]:
            tested.setdefault(case[0], set()).add({True: "pass", False: "fail"}.get(case[3], case[3]))
    assert set(tested) == {*SERIES, *VALUES}
    assert all({"pass", "fail"} <= both for both in tested.values())


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("every", {}, "acceptable is missing"),
        ("every", {"acceptable": {"answred": {}}}, "an expectation is"),
        ("settles", ANSWERED, "within is a number of 0 or more, not None"),
        ("settles", {**SETTLES, "within": "1"}, "within is a number"),
        ("shares", {"backends": []}, "backends is a list of nonces"),
        ("shares", {"backends": "ab"}, "backends is a list of nonces"),
        ("shares", {**AB, "alpha": 2}, "alpha lies between 0 and 1"),
        ("covers", {}, "backends is missing"),
        ("longest_gap", {}, "bound is a number"),
        ("lost", {"bound": 1}, "interval is a number"),
        ("equals", {"expected": 1}, "there is no kind 'equals' for that subject"),
        ("evry", {}, "there is no kind 'evry'"),
    ],
)
def test_wrong_parameters_are_the_suites_own_error(kind: str, params: Record, said: str) -> None:
    ruling = ruled(kind, params, series("ok", "ok"))
    assert ruling.verdict is Verdict.SUITE_ERROR
    assert said in ruling.reason


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (expect("every", ANSWERED, series="other"), "no attempt was recorded in the series 'other'"),
        (expect("equals", {"expected": 1}, name="other"), "no value 'other' was recorded"),
        (expect("equals", {}, name="v"), "expected is missing"),
        (expect("one_of", {"expected": 1}, name="v"), "one_of takes a list"),
        (expect("matches", {"pattern": "("}, name="v"), "is no regular expression"),
        (expect("every", ANSWERED, name="v"), "there is no kind 'every' for that subject"),
    ],
)
def test_an_expectation_of_what_nobody_recorded_is_the_suites_own_error(record: Record, said: str) -> None:
    ruling = judge(run(value(1), probes(series("ok")), record, done())).rulings[0]
    assert ruling.verdict is Verdict.SUITE_ERROR
    assert said in ruling.reason


def test_gaps_are_taken_for_each_origin_apart() -> None:
    one = probes(series("ok", "timeout", "timeout", "timeout", "timeout", "ok"), origin="pod-a")
    other = probes(series("ok", "ok", "ok", "ok", "ok", "ok"), origin="pod-b")
    assert judge(run(one, other, expect("longest_gap", GAP), done())).rulings[0].verdict is Verdict.FAIL


@pytest.mark.parametrize("silent", [0.05, 0.1, 0.3, 1.0])
def test_a_known_silence_is_measured_within_one_interval(silent: float) -> None:
    interval, outcomes = 0.005, []
    for number in range(600):
        at = number * interval
        outcomes.append(Outcome("timeout" if 1.0 <= at < 1.0 + silent else "answered", "a", at=at))
    gap = ruled("longest_gap", {"bound": 5}, outcomes).numbers["longest_gap_s"]
    assert silent <= gap <= silent + 2 * interval + 1e-9
    lost = ruled("lost", {"bound": 5, "interval": interval}, outcomes).numbers["lost_s"]
    assert lost == pytest.approx(silent, abs=interval)


def test_numbers_say_what_was_measured() -> None:
    assert ruled("every", ANSWERED, series(*["ok"] * 300)).numbers == {
        "n": 300,
        "violations": 0,
        "bound95": pytest.approx(0.00994, rel=1e-3),
        "seconds": 1.5,
    }
    numbers = ruled("shares", AB, series(*split(790, 830))).numbers
    assert numbers["shares"] == {"a": pytest.approx(790 / 1620), "b": pytest.approx(830 / 1620)}
    assert 0.3 < numbers["p_value"] < 0.4
    assert numbers["smallest_shift"] < 0.10
    assert ruled("settles", SETTLES, series("timeout", "ok")).numbers["settled_s"] == pytest.approx(0.1)


def test_counts_of_several_expectations_add_up_and_times_are_the_worst() -> None:
    records = run(
        probes(series(*["ok"] * 100), series="x"),
        probes(series(*["ok"] * 200), series="y"),
        expect("every", ANSWERED, series="x"),
        expect("every", ANSWERED, series="y"),
        probes(series("timeout", "ok"), series="slow"),
        probes(series("ok"), series="fast"),
        expect("settles", SETTLES, series="slow"),
        expect("settles", SETTLES, series="fast"),
        done(),
    )
    numbers = judge(records).rulings[0].numbers
    assert numbers["n"] == 300
    assert numbers["bound95"] == pytest.approx(0.00994, rel=1e-3)
    assert numbers["settled_s"] == pytest.approx(0.1)


def test_a_certain_share_has_no_infinite_numbers() -> None:
    for params, seen in ((AB, ["a"] * 2000), ({"backends": ["a"]}, ["a"])):
        for number in ruled("shares", params, series(*seen)).numbers.values():
            assert not isinstance(number, float) or math.isfinite(number)
