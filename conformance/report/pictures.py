"""Which plots a requirement gets, and their data: from its expectations and recorded attempts. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from conformance import outages, statistics
from conformance.checks import Attempt
from conformance.evidence import Record, outcomes_of
from conformance.expectations import Answered, Expectation, ExpectationError, from_json
from conformance.outages import Mark
from conformance.report import plots
from conformance.report.plots import Bar, Lane

MOST = 6  # plots of one kind a requirement: past that nobody looks
MOST_BARS, MOST_LANES, MOST_FAULTS = 12, 12, 20
_WINDOWS = ("shares", "covers", "single", "every", "longest_gap", "lost")  # settling is told in numbers
_SPLIT = ("shares", "covers", "single")  # judged by who answered
_OVER_TIME = ("longest_gap", "lost")


@dataclass(frozen=True)
class Picture:
    """One plot with its words."""

    title: str
    svg: Markup
    words: str
    faults: tuple[tuple[float, str], ...] = ()
    wide: bool = False


@dataclass(frozen=True)
class Subject:
    """One series and the expect records on it."""

    series: str
    attempts: Sequence[Attempt]
    expects: Sequence[Record]

    def params(self, *kinds: str) -> Mapping[str, Any] | None:
        """The parameters of the first expectation of these kinds; None where there is none."""
        return next((one["params"] for one in self.expects if one["kind"] in kinds), None)


def pictures(records: Sequence[Record]) -> list[Picture]:
    """The plots of one requirement, whose ``records`` these are: distributions, timelines, then latencies."""
    faults = tuple((float(one["at"]), str(one["text"])) for one in records if one["type"] == "fault")
    found = subjects(records)
    windows = [one for one in found if one.params(*_WINDOWS) is not None]
    timed = [
        one for one in found if one.params(*_OVER_TIME) is not None
        or any(_spans(one, at) for at, _ in faults)
    ]
    made = [_distribution(one) for one in windows if _is_split(one)][:MOST]
    made += [_timeline(timed, faults)] if timed else []
    made += [_latency(one) for one in windows][:MOST]
    return [one for one in made if one.svg]


def subjects(records: Sequence[Record]) -> list[Subject]:
    """Every series, in the order of its first attempts, with what is expected of it."""
    attempts: dict[str, list[Attempt]] = {}
    for record in records:
        if record["type"] == "probes":
            attempts.setdefault(record["series"], []).extend(
                Attempt(outcome, record["from"], record["to"], record["protocol"])
                for outcome in outcomes_of(record))
    expects: dict[str, list[Record]] = {series: [] for series in attempts}
    for record in records:
        if record["type"] == "expect" and record.get("series") in expects:
            expects[record["series"]].append(record)
    return [
        Subject(series, sorted(attempts[series], key=Attempt.order), found)
        for series, found in expects.items()
    ]


def longest_gap(attempts: Sequence[Attempt], acceptable: Expectation) -> tuple[float, float] | None:
    """Begin and end of the longest stretch without success of one vantage, as the verdict measures it."""
    marks = [
        Mark(one.outcome.at, acceptable.accepts(one.outcome), one.outcome.ms / 1000)
        for one in attempts if one.outcome.kind != "error"
    ]
    found = max(outages.gaps(marks), key=lambda gap: gap.seconds, default=None)
    return (found.before, found.ended) if found else None


def distribution(subject: Subject) -> list[Bar]:
    """Who took how many of the attempts: those who may answer first, then everybody else by number."""
    params = subject.params(*_SPLIT) or {}
    named = params.get("backends")
    backends = list(dict.fromkeys(map(str, named))) if isinstance(named, list) else []
    seen: Counter[tuple[bool, str]] = Counter(
        (one.kind == "answered", one.by if one.kind == "answered" else one.kind)
        for one in (attempt.outcome for attempt in subject.attempts) if one.kind != "error")
    found = [Bar(name, seen.pop((True, name), 0)) for name in backends]
    for (answered, name), count in seen.most_common():
        label = (name or "gave no name") if answered else f"({name})"
        found.append(Bar(label, count, expected=answered and not backends))
    return found


def _distribution(subject: Subject) -> Picture:
    found = distribution(subject)
    shares, rest = subject.params("shares"), found[MOST_BARS:]
    tolerance = shares.get("tolerance", 0.10) if shares is not None else None
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        tolerance = None  # the verdict says that the suite is wrong
    total, count = sum(bar.count for bar in found), sum(bar.expected for bar in found)
    words = f"{total:,} attempts over {count} backends"
    if tolerance is not None:
        words += f"; the band is each one's equal share ± {tolerance:.0%}"
    words += f"; {len(rest)} more are not drawn" if rest else ""
    told = ", ".join(f"{bar.label} {bar.count}" for bar in found[:MOST_BARS])
    svg = plots.bars(found[:MOST_BARS], tolerance=None if rest else tolerance, label=f"Who answered: {told}")
    return Picture(f"Who answered: {subject.series}", svg if found else Markup(), words)


def _timeline(found: Sequence[Subject], faults: tuple[tuple[float, str], ...]) -> Picture:
    """A lane for each series and vantage, those with the longest gap first; one time for all."""
    lanes = [lane for subject in found for lane in _lanes(subject)]
    lanes.sort(key=lambda lane: lane.gap[0] - lane.gap[1] if lane.gap else 0.0)
    sent = sum(len(lane.points) for lane in lanes)
    bad = sum(not good for lane in lanes for _, good in lane.points)
    longest = max((lane.gap[1] - lane.gap[0] for lane in lanes if lane.gap), default=0.0)
    words = f"{sent:,} attempts, {bad:,} not as they must be (tall marks); longest gap {longest:.3f} s"
    words += " (shaded)" if longest else ""
    words += f"; the {MOST_LANES} worst of {len(lanes)} lanes" if len(lanes) > MOST_LANES else ""
    words += f"; the first {MOST_FAULTS} of {len(faults)} faults" if len(faults) > MOST_FAULTS else ""
    drawn, faults = lanes[:MOST_LANES], faults[:MOST_FAULTS]
    svg = plots.timeline(drawn, [at for at, _ in faults], label=f"Over time: {words}")
    return Picture("Over time", svg if sent else Markup(), words, faults, wide=True)


def _lanes(subject: Subject) -> list[Lane]:
    """One lane for each vantage of the series."""
    acceptable = _acceptable(subject)
    origins = list(dict.fromkeys(one.origin for one in subject.attempts))
    lanes = []
    for origin in origins:
        own = [one for one in subject.attempts if one.origin == origin and one.outcome.kind != "error"]
        points = [(one.outcome.at, acceptable.accepts(one.outcome)) for one in own]
        told = subject.series if len(origins) == 1 else f"{subject.series}, {origin}"
        lanes.append(Lane(told, points, longest_gap(own, acceptable)))
    return lanes


def _latency(subject: Subject) -> Picture:
    """How long attempts took, with the median and the 99th percentile (nearest rank)."""
    sent = [one.outcome for one in subject.attempts if one.outcome.kind != "error"]
    values = sorted(one.ms for one in sent)
    if len(values) < 2:
        return Picture("", Markup(), "")
    ended = ", ".join(f"{count:,} {kind}" for kind, count in Counter(one.kind for one in sent).most_common())
    median, p99 = (values[math.ceil(len(values) * q) - 1] for q in (0.5, 0.99))
    bound = statistics.quantile_bound(values, 0.99)
    words = f"{ended}; median {median:.3g} ms, p99 {p99:.3g} ms"
    words += f" (≤ {bound:.3g} ms at 95 %)" if bound is not None else f" (n {len(values)} gives no bound)"
    marks = [("median", median)] + ([("p99", p99)] if p99 > 2.5 * median else [])
    svg = plots.histogram(values, marks, label=f"Time until each attempt ended: {words}")
    return Picture(f"Time until the end: {subject.series}", svg, words)


def _is_split(subject: Subject) -> bool:
    """True where it matters who answered: it is judged, or several did."""
    if subject.params(*_SPLIT) is not None:
        return True
    return len({one.outcome.by for one in subject.attempts if one.outcome.by}) > 1


def _spans(subject: Subject, at: float) -> bool:
    times = [one.outcome.at for one in subject.attempts]
    return bool(times) and min(times) <= at <= max(times)


def _acceptable(subject: Subject) -> Expectation:
    """What every attempt of the series is held to; any answer where there is nothing of the kind.

    A series that only has to settle is drawn by its answers: that it changed is what is to be seen.
    """
    for kinds in (_OVER_TIME, ("every",)):
        params = subject.params(*kinds)
        if params is not None and "acceptable" in params:
            try:
                return from_json(params["acceptable"])
            except ExpectationError:
                return Answered()
    return Answered()
