"""Open-loop schedules, and what they measured: the longest gap and the time lost. All pure.

An open-loop client fires at fixed instants whatever happened before, so a slow failure cannot hide the ones
that would have come after it (coordinated omission).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from conformance.evidence import Outcome

Accepts = Callable[[Outcome], bool]


@dataclass(frozen=True)
class Schedule:
    """``rate`` attempts a second for ``seconds`` seconds."""

    rate: float
    seconds: float

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.seconds <= 0:
            raise ValueError(f"a schedule of {self.rate}/s for {self.seconds} s: both must be above 0")

    @property
    def interval(self) -> float:
        """Seconds between two attempts."""
        return 1 / self.rate

    @property
    def count(self) -> int:
        """Attempts in all; at least one."""
        return max(1, round(self.rate * self.seconds))


def longest_gap(outcomes: Iterable[Outcome], accepts: Accepts) -> float:
    """Longest stretch without a success, in seconds, from the last good start before it to the first after
    it.

    A stretch at the beginning or end counts from the first or to the last attempt. 0.0 when all were
    accepted.
    """
    rows = sorted(outcomes, key=lambda outcome: outcome.at)
    longest, good, bad = 0.0, None, False
    for outcome in rows:
        if not accepts(outcome):
            bad = True
            continue
        if bad:
            longest = max(longest, outcome.at - (rows[0].at if good is None else good))
        good, bad = outcome.at, False
    if bad:
        longest = max(longest, rows[-1].at - (rows[0].at if good is None else good))
    return longest


def lost_time(outcomes: Iterable[Outcome], accepts: Accepts, interval: float) -> float:
    """Seconds lost in all: each attempt that was not accepted stands for ``interval`` seconds of its
    schedule.
    """
    return sum(not accepts(outcome) for outcome in outcomes) * interval
