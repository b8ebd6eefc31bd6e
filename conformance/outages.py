"""How long something was away, from attempts on an open-loop schedule. All pure.

A gap runs from the last good attempt before it to the first good one after it, which is never shorter than
what a client lost. An *outage* runs from the first attempt lost to the first good one again: that is the best
estimate, off by at most one interval either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Mark:
    """One attempt: when it was sent, whether it was answered as it must be, and how long it took."""

    at: float
    good: bool
    took: float = 0.0


@dataclass(frozen=True)
class Gap:
    """One stretch without success, seconds on the clock of the marks."""

    before: float  # last good attempt before it, or the first of all
    began: float  # first attempt lost
    ended: float  # first good attempt after it, or the end of the last of all
    closed: bool  # somebody answered again

    @property
    def seconds(self) -> float:
        """From good to good."""
        return self.ended - self.before

    @property
    def outage(self) -> float:
        """From the first lost to the first good."""
        return self.ended - self.began


@dataclass(frozen=True)
class Outages:
    """What a series shows: before ``since`` is the control without a fault, from then on what is judged."""

    gaps: tuple[Gap, ...]
    control: float  # longest gap of the control, seconds
    still: float  # longest time in which the prober sent nothing, seconds

    @property
    def longest(self) -> Gap | None:
        """The longest gap; None when nothing was lost."""
        return max(self.gaps, key=lambda gap: gap.seconds, default=None)

    @property
    def noise(self) -> float:
        """What the measurement itself may be off by: the longer of control gap and standstill."""
        return max(self.control, self.still)


def gaps(marks: Iterable[Mark]) -> list[Gap]:
    """Every stretch without success, in order of time."""
    rows = sorted(marks, key=lambda mark: mark.at)
    found: list[Gap] = []
    good: float | None = None
    began: float | None = None
    for mark in rows:
        if not mark.good:
            began = mark.at if began is None else began
            continue
        if began is not None:
            found.append(Gap(rows[0].at if good is None else good, began, mark.at, True))
        good, began = mark.at, None
    if began is not None:
        end = max(mark.at + mark.took for mark in rows)
        found.append(Gap(rows[0].at if good is None else good, began, end, False))
    return found


def measure(marks: Sequence[Mark], since: float) -> Outages:
    """Split the gaps at ``since``, when the fault was: one that is open then is the fault's own.

    The time between the last good attempt and ``since`` counts as the control's, should attempts have been
    lost in it: then something was wrong before the fault.
    """
    rows = sorted(marks, key=lambda mark: mark.at)
    found = gaps(rows)
    control = [min(gap.ended, since) - gap.before for gap in found if gap.began < since]
    still = max((after.at - before.at for before, after in pairwise(rows)), default=0.0)
    return Outages(tuple(gap for gap in found if gap.ended >= since), max(control, default=0.0), still)


def lost(marks: Iterable[Mark], interval: float) -> float:
    """Seconds lost in all: each attempt that failed stands for ``interval`` seconds of its schedule."""
    return sum(not mark.good for mark in marks) * interval
