"""Open-loop schedules: attempts at fixed instants, whatever became of those before.

A slow failure cannot hide the ones that would have come after it (coordinated omission). What such a series
shows is in ``outages.py``.
"""

from __future__ import annotations

from dataclasses import dataclass


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
