"""Plots as inline SVG: numbers in, markup out. Pure; every word is escaped.

Horizontal places are percentages and vertical ones pixels, so a plot fills whatever width it gets and its
words keep their size on a phone. Colours are the page's, by class; each state has a shape besides its colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

SLOTS = 180  # columns of a timeline: more would not be seen
BINS_A_DECADE = 10
LEAST_MS, MOST_MS = 0.01, 1e6  # ends of every latency axis; what lies outside is counted at the end
_LANE = 60  # letters of a lane's name, which has the line to itself but for the gap
_LABEL = 38  # letters of a name that fit beside its numbers on a phone


@dataclass(frozen=True)
class Bar:
    """How many attempts one backend (or one kind of ending) took."""

    label: str
    count: int
    expected: bool = True  # False: nobody who may answer


@dataclass(frozen=True)
class Lane:
    """What one vantage saw over time."""

    label: str
    points: Sequence[tuple[float, bool]]  # seconds into the run, and whether it was acceptable
    gap: tuple[float, float] | None = None  # the longest stretch without success, in seconds into the run


def share_domain(shares: Sequence[float], equal: float, tolerance: float) -> float:
    """Right end of an axis of shares: all of them and the band are on it, with room; at most 1."""
    return max(1e-9, min(1.0, 1.25 * max([equal + tolerance, *shares])))


def bars(found: Sequence[Bar], *, tolerance: float | None, label: str) -> Markup:
    """Shares of ``found`` as bars; with ``tolerance`` the band around equal shares of those expected."""
    total = max(1, sum(bar.count for bar in found))
    wanted = sum(bar.expected for bar in found)
    equal = 1 / wanted if wanted and tolerance is not None else 0.0
    end = share_domain([bar.count / total for bar in found], equal, tolerance or 0.0)
    height, parts = 34 * len(found), list[Markup]()
    low, high = max(0.0, equal - (tolerance or 0.0)), min(end, equal + (tolerance or 0.0))
    for number, bar in enumerate(found):
        top, share = 34 * number, bar.count / total
        parts.append(_text(0, top + 13, shortened(bar.label), "start"))
        parts.append(_text(1, top + 13, f"{bar.count:,} · {share:.1%}", "end"))
        if equal and bar.expected:
            parts.append(_rect("band", low / end, (high - low) / end, top + 16, 15))
        parts.append(_rect("bar" if bar.expected else "bar stray", 0, share / end, top + 18, 11))
        if equal and bar.expected:
            parts.append(_line("equal", equal / end, top + 16, top + 31))
    if equal:
        parts.append(_text(equal / end, height + 14, f"equal {equal:.1%} ± {tolerance:.0%}", "around"))
    return _svg(height + (18 if equal else 2), label, parts)


def latency_bins(values: Iterable[float]) -> list[tuple[float, int]]:
    """Lower edge in ms of each bin, ten a decade, and its count; none is left out between the filled."""
    seen: dict[int, int] = {}
    for value in values:
        place = math.floor(BINS_A_DECADE * math.log10(min(MOST_MS, max(LEAST_MS, value))) + 1e-9)
        seen[place] = seen.get(place, 0) + 1
    if not seen:
        return []
    low, high = min(seen), max(seen)
    narrow = max(0, BINS_A_DECADE - (high - low + 1))  # at least a decade, what is filled in its middle
    places = range(low - narrow // 2, high + narrow - narrow // 2 + 1)
    return [(10 ** (place / BINS_A_DECADE), seen.get(place, 0)) for place in places]


def histogram(values: Sequence[float], marks: Sequence[tuple[str, float]], *, label: str) -> Markup:
    """Times in ms on a logarithmic axis, with named marks such as the median."""
    bins = latency_bins(values)
    if not bins:
        return Markup()
    start, most = math.log10(bins[0][0]), max(count for _, count in bins)
    width, tall, top = len(bins) / BINS_A_DECADE, 78, 16

    def place(ms: float) -> float:
        return (math.log10(min(MOST_MS, max(LEAST_MS, ms))) - start) / width

    parts = [
        _rect("bar", number / len(bins) + 0.001, 1 / len(bins) - 0.002, top + tall - size, size)
        for number, (_, count) in enumerate(bins) if count
        for size in [max(1.5, tall * count / most)]
    ]
    for name, ms in marks:
        parts += [_line("mark", place(ms), top, top + tall), _text(place(ms), 11, name, "around")]
    parts.append(_line_across(top + tall))
    parts += [_text(place(ms), top + tall + 15, _ms(ms), "around") for ms in ticks_ms(bins[0][0], width)]
    return _svg(top + tall + 20, label, parts)


def ticks_ms(low: float, decades: float) -> list[float]:
    """Round numbers on a logarithmic axis that begins at ``low``: 1, 2, 5 a decade, fewer when it is long."""
    first, last = math.log10(low), math.log10(low) + decades
    steps = (1, 2, 5) if decades <= 2 else (1,)
    powers = range(math.floor(first), math.ceil(last) + 1, 2 if decades > 5 else 1)
    found = [step * 10.0**power for power in powers for step in steps]
    return [one for one in found if first - 1e-9 <= math.log10(one) <= last - 0.03 * decades]


def slots(points: Iterable[tuple[float, bool]], start: float, end: float) -> list[tuple[int, int, bool]]:
    """Runs of equal columns: first, how many, and whether all in them was acceptable; without empty ones."""
    seen: dict[int, bool] = {}
    for at, good in points:
        column = min(SLOTS - 1, max(0, int((at - start) / max(1e-9, end - start) * SLOTS)))
        seen[column] = seen.get(column, True) and good
    runs: list[tuple[int, int, bool]] = []
    for column, good in sorted(seen.items()):
        if runs and runs[-1][0] + runs[-1][1] == column and runs[-1][2] == good:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, good)
        else:
            runs.append((column, 1, good))
    return runs


def timeline(lanes: Sequence[Lane], faults: Sequence[float], *, label: str) -> Markup:
    """Attempts over time, one lane a vantage: low marks acceptable, tall ones not; faults and gaps marked."""
    times = [at for lane in lanes for at, _ in lane.points] + list(faults)
    times += [end for lane in lanes if lane.gap for end in lane.gap]
    if not times:
        return Markup()
    start = min(times)
    end = max(*times, start + 1e-3, start + abs(start) * 1e-9)
    span, top, height = end - start, 18, 46 * len(lanes)
    parts: list[Markup] = []
    for number, lane in enumerate(lanes):
        base = top + 46 * number
        if lane.gap:
            silent = lane.gap[1] - lane.gap[0]
            parts.append(_rect("gap", (lane.gap[0] - start) / span, silent / span, base, 42))
        parts.append(_text(0, base + 11, shortened(lane.label, _LANE), "start"))
        if lane.gap:  # last, so that it stays readable where a phone lets a long name run into it
            parts.append(_text(1, base + 11, f"gap {lane.gap[1] - lane.gap[0]:.3f} s", "end"))
        for first, many, good in slots(lane.points, start, end):
            shape = ("ok", base + 29, 10) if good else ("bad", base + 15, 24)
            parts.append(_rect(shape[0], first / SLOTS, many / SLOTS, shape[1], shape[2]))
        parts.append(_line_across(base + 41))
    parts += [_line("fault", (at - start) / span, top - 4, top + height) for at in faults]
    parts += [_text((at - start) / span, 11, said, "around") for at, said in labels(faults, span)]
    for at in ticks_s(start, end):
        parts.append(_text((at - start) / span, top + height + 12, f"{at:g} s", "around"))
    return _svg(top + height + 18, label, parts)


def labels(faults: Sequence[float], span: float) -> list[tuple[float, str]]:
    """Where the numbers of the faults stand, those in one place joined, so that none covers another."""
    order = sorted(enumerate(faults, 1), key=lambda fault: fault[1])
    joined: list[list[tuple[int, float]]] = []
    for number, at in order:
        if joined and at - joined[-1][0][1] < 0.1 * span:
            joined[-1].append((number, at))
        else:
            joined.append([(number, at)])
    said = [(one[0][1], sorted(number for number, _ in one)) for one in joined]
    return [(at, f"▼{found[0]}" + (f"–{found[-1]}" if len(found) > 1 else "")) for at, found in said]


def ticks_s(start: float, end: float) -> list[float]:
    """Three to eight round moments between ``start`` and ``end``."""
    most = max(1e-9, end - start) / 3 * (1 + 1e-9)
    power = 10.0 ** math.floor(math.log10(most))
    step = max(step * power for step in (1, 2, 5) if step * power <= most)
    first = math.ceil(start / step)
    moments = (number * step for number in range(first, first + 10))
    return [round(at, 9) for at in moments if at <= end + step * 1e-6]


def shortened(name: str, most: int = _LABEL) -> str:
    """``name``, its middle left out when it has more letters than ``most``."""
    return name if len(name) <= most else f"{name[: most - 13]}…{name[-12:]}"


def _ms(ms: float) -> str:
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"


def _svg(height: float, label: str, parts: Iterable[Markup]) -> Markup:
    whole = Markup('<svg class="plot" width="100%" height="{:.0f}" role="img" aria-label="{}">{}</svg>')
    return whole.format(height, label, Markup("").join(parts))


def _at(fraction: float) -> str:
    """A fraction of the width as a percentage; what would lie outside is put at the edge."""
    return f"{100 * min(1.0, max(0.0, fraction)):.2f}%"


def _rect(kind: str, left: float, width: float, top: float, height: float) -> Markup:
    shape = Markup('<rect class="{}" x="{}" y="{:.4g}" width="{}" height="{:.4g}"/>')
    return shape.format(kind, _at(left), top, _at(max(width, 0.002)), height)


def _line(kind: str, at: float, top: float, bottom: float) -> Markup:
    shape = Markup('<line class="{}" x1="{}" x2="{}" y1="{:g}" y2="{:g}"/>')
    return shape.format(kind, _at(at), _at(at), top, bottom)


def _line_across(y: float) -> Markup:
    return Markup('<line class="axis" x1="0" x2="100%" y1="{0:g}" y2="{0:g}"/>').format(y)


def _text(at: float, y: float, said: str, anchor: str) -> Markup:
    """Words at a place; ``around`` centres them, except near an edge that would cut them."""
    if anchor == "around":
        anchor = "start" if at < 0.1 else "end" if at > 0.9 else "middle"
    return Markup('<text x="{}" y="{:g}" text-anchor="{}">{}</text>').format(_at(at), y, anchor, escape(said))
