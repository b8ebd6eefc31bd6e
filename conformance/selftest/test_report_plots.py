"""The arithmetic of the plots: nothing is lost between the numbers and what is drawn."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.checks import Attempt
from conformance.evidence import Outcome, Record
from conformance.expectations import Answered
from conformance.kinds import longest_gap as judged
from conformance.report import pictures, plots
from conformance.report.plots import Bar, Lane
from conformance.selftest.runs import ANSWERED, expect, probes, series


def shapes(svg: str, kind: str) -> list[dict[str, float]]:
    """Place and size of each rectangle or line of a class, percentages as fractions."""
    found = re.findall(rf'<(?:rect|line) class="{kind}" ([^>]*)/>', svg)
    return [
        {name: float(size.rstrip("%")) / (100 if size.endswith("%") else 1)
         for name, size in re.findall(r'(\w+)="([^"]*)"', one)}
        for one in found
    ]


def test_bars_are_as_long_as_their_shares_and_the_band_lies_around_the_equal_one() -> None:
    svg = plots.bars([Bar("a", 60), Bar("b", 40)], tolerance=0.1, label="l")
    end = plots.share_domain([0.6, 0.4], 0.5, 0.1)
    assert end == pytest.approx(0.75)
    assert [one["width"] for one in shapes(svg, "bar")] == pytest.approx([0.8, 0.5333], abs=1e-3)
    band = shapes(svg, "band")[0]
    assert (band["x"], band["x"] + band["width"]) == pytest.approx((0.4 / end, 0.6 / end), abs=1e-3)
    assert shapes(svg, "equal")[0]["x1"] == pytest.approx(0.5 / end, abs=1e-3)
    assert ">60 · 60.0%<" in svg and ">equal 50.0% ± 10%<" in svg


def test_strangers_look_different_and_change_no_equal_share() -> None:
    svg = plots.bars([Bar("a", 5), Bar("b", 4), Bar("who", 1, expected=False)], tolerance=0.1, label="l")
    assert len(shapes(svg, "bar stray")) == 1
    assert len(shapes(svg, "band")) == 2
    assert ">equal 50.0% ± 10%<" in svg


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=60))
def test_every_latency_is_in_one_bin(values: list[float]) -> None:
    bins = plots.latency_bins(values)
    assert sum(count for _, count in bins) == len(values)
    assert len(bins) >= plots.BINS_A_DECADE
    assert all(after / before == pytest.approx(10**0.1) for (before, _), (after, _) in pairwise(bins))
    for value in values:
        shown = min(plots.MOST_MS, max(plots.LEAST_MS, value))
        assert bins[0][0] <= shown * (1 + 1e-6) and shown <= bins[-1][0] * 10**0.1 * (1 + 1e-6)


def test_no_latencies_make_no_plot() -> None:
    assert plots.latency_bins([]) == []
    assert plots.histogram([], [], label="l") == ""


def test_ticks_are_round_and_on_the_axis() -> None:
    assert plots.ticks_ms(1.0, 2) == [1, 2, 5, 10, 20, 50]
    assert plots.ticks_ms(0.1, 4) == pytest.approx([0.1, 1, 10, 100])
    assert plots.ticks_s(0.0, 8.0) == [0, 2, 4, 6, 8]
    assert plots.ticks_s(3.1, 3.5) == pytest.approx([3.1, 3.2, 3.3, 3.4, 3.5])


@given(st.floats(-1e4, 1e9), st.floats(1e-3, 1e9))
def test_an_axis_of_seconds_has_some_ticks(start: float, span: float) -> None:
    span = max(span, abs(start) * 1e-9)
    ticks = plots.ticks_s(start, start + span)
    assert 2 <= len(ticks) <= 8
    assert all(start - span * 0.01 <= at <= start + span * 1.01 for at in ticks)


def test_columns_are_joined_and_one_bad_attempt_marks_its_column() -> None:
    points = [(n + 0.5, n not in {40, 41}) for n in range(plots.SLOTS)] + [(60.6, False)]
    assert plots.slots(points, 0.0, plots.SLOTS) == [
        (0, 40, True), (40, 2, False), (42, 18, True), (60, 1, False), (61, 119, True)]


def test_a_time_without_attempts_stays_empty() -> None:
    assert plots.slots([(0.0, True), (1.0, True)], 0.0, 1.0) == [(0, 1, True), (plots.SLOTS - 1, 1, True)]


def test_a_timeline_marks_gap_and_fault_where_they_were() -> None:
    lane = Lane("pod-a", [(n / 10, not 3 <= n <= 5) for n in range(11)], gap=(0.2, 0.6))
    svg = plots.timeline([lane], [0.25], label="l")
    gap = shapes(svg, "gap")[0]
    assert (gap["x"], gap["width"]) == pytest.approx((0.2, 0.4), abs=1e-3)
    assert shapes(svg, "fault")[0]["x1"] == pytest.approx(0.25)
    assert ">gap 0.400 s<" in svg and ">▼1<" in svg
    good, bad = shapes(svg, "ok"), shapes(svg, "bad")
    assert min(one["height"] for one in bad) > max(one["height"] for one in good)  # not by colour alone


def test_faults_in_one_place_share_their_number() -> None:
    assert plots.labels([1.0, 1.2, 1.4, 5.0], 10.0) == [(1.0, "▼1–3"), (5.0, "▼4")]
    assert plots.labels([], 1.0) == []


def test_every_word_of_a_plot_is_escaped() -> None:
    lane = Lane("<b>", [(0.0, True)])
    bars = plots.bars([Bar("<b>", 1)], tolerance=None, label='"<')
    for svg in (plots.timeline([lane], [], label='"<'), bars):
        assert "<b>" not in svg and "&lt;b&gt;" in svg and 'aria-label="&#34;&lt;"' in svg


def test_a_long_name_keeps_its_ends() -> None:
    name = "nextcloud-dev-7d5d7f8b9c-abcde-and-a-very-long-tail"
    assert len(plots.shortened(name)) == 38
    assert plots.shortened(name).endswith("ry-long-tail")


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["ok", "timeout", "refused", "error"]), min_size=1, max_size=25))
def test_the_shaded_gap_is_the_one_that_the_verdict_measures(words: list[str]) -> None:
    attempts = [Attempt(outcome, "a") for outcome in series(*words)]
    drawn = pictures.longest_gap(attempts, Answered())
    told = judged(attempts, {"bound": 1e6}).numbers["longest_gap_s"]
    if told is not None:
        assert (drawn[1] - drawn[0] if drawn else 0.0) == pytest.approx(told, abs=1e-6)
    else:
        assert drawn is not None and drawn[0] == next(
            one.outcome.at for one in attempts if one.outcome.kind != "error")


def drawn(*records: Record) -> list[str]:
    return [one.title.partition(":")[0] for one in pictures.pictures(records)]


def test_what_is_judged_is_what_is_drawn() -> None:
    split = probes([Outcome("answered", word, at=n, ms=2.0) for n, word in enumerate("abab")])
    fault: Any = {"type": "fault", "id": "DNS-01", "at": 1.5, "text": "cut"}
    assert drawn(split, expect("shares", {"backends": ["a", "b"]})) == ["Who answered", "Time until the end"]
    assert drawn(split, expect("longest_gap", {"bound": 1}))[1] == "Over time"
    assert drawn(split, expect("settles", ANSWERED)) == []
    assert drawn(split, fault, expect("settles", ANSWERED)) == ["Over time"]
    assert drawn(split, fault) == ["Over time"]
    assert drawn(split) == []


def test_a_timeline_has_a_lane_for_each_vantage_the_worst_first() -> None:
    fault: Any = {"type": "fault", "id": "DNS-01", "at": 0.15, "text": "cut"}
    made = pictures.pictures([
        probes(series("ok", "ok", "ok", "ok"), series="calm"), fault,
        probes(series("ok", "timeout", "ok"), series="cut", origin="pod-a"),
        probes(series("ok", "timeout", "timeout", "ok"), series="cut", origin="pod-b"),
        expect("settles", {"acceptable": {"ended": ["timeout"]}, "within": 1, "since": 0}, series="cut"),
    ])
    assert [one.title for one in made] == ["Over time"]
    assert re.findall(">((?:cut|calm)[^<]*)<", made[0].svg) == ["cut, pod-b", "cut, pod-a", "calm"]
    assert made[0].faults == ((0.15, "cut"),)
    assert made[0].words.startswith("11 attempts, 3 not as they must be (tall marks); longest gap 0.300 s")


def test_a_distribution_counts_everything_but_the_probers_own_errors() -> None:
    record = probes(series("a", "b", "a", "x", "timeout", "error"))
    subject = pictures.subjects([record, expect("shares", {"backends": ["a", "b", "c"]})])[0]
    assert pictures.distribution(subject) == [
        Bar("a", 2), Bar("b", 1), Bar("c", 0), Bar("x", 1, expected=False),
        Bar("(timeout)", 1, expected=False)]


def test_the_median_is_marked_and_the_percentile_has_a_bound_only_with_enough_attempts() -> None:
    few = probes([Outcome("answered", "a", at=n, ms=float(n + 1)) for n in range(10)])
    many = probes([Outcome("answered", "a", at=n, ms=float(n + 1)) for n in range(400)])
    assert "n 10 gives no bound" in pictures.pictures([few, expect("every", ANSWERED)])[0].words
    words = pictures.pictures([many, expect("every", ANSWERED)])[0].words
    assert "median 200 ms, p99 396 ms (≤ 400 ms at 95 %)" in words
