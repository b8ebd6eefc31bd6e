"""When a CronJob runs: its five fields, the ``@`` words, and the next time. Pure.

Syntax and words of errors: ``github.com/robfig/cron/v3``, which Kubernetes reads schedules with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_MONTHS = {name: n for n, name in enumerate(
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
_DAYS = {name: n for n, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (0, 6, _DAYS))
_WORDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_FARTHEST = 5 * 366  # days that are looked through


class BadSchedule(Exception):
    """The text is no schedule; says why, in the words of Kubernetes."""


@dataclass(frozen=True)
class Schedule:
    """The times a text stands for; ``every`` is seconds between them where it says nothing else."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False  # one of the two kinds of days is a star: then both must fit, else one of them
    every: float = 0.0

    def next(self, after: float, zone: tzinfo = UTC) -> float | None:
        """The first time after ``after`` (both in seconds since 1970); None: none within five years."""
        if self.every:
            return float(int(after) + self.every)
        day = datetime.fromtimestamp(after, zone).date()
        for _ in range(_FARTHEST):
            if day.month in self.months and self._fits(day.day, day.isoweekday() % 7):
                for at in self._on(datetime(day.year, day.month, day.day, tzinfo=zone)):
                    if at > after:
                        return at
            day += timedelta(days=1)
        return None

    def _fits(self, day: int, weekday: int) -> bool:
        one, other = day in self.days, weekday in self.weekdays
        return one and other if self.any_day else one or other

    def _on(self, day: datetime) -> Iterator[float]:
        """The times of one day, in order. An hour left out by a change of the clock has none, one that
        comes twice has both.
        """
        found = set()
        for hour in self.hours:
            for minute in self.minutes:
                for fold in (0, 1):
                    at = day.replace(hour=hour, minute=minute, fold=fold)
                    stamp = at.timestamp()
                    if datetime.fromtimestamp(stamp, day.tzinfo).hour == hour:
                        found.add(stamp)
        yield from sorted(found)


def zone_of(name: str) -> tzinfo:
    """A time zone by its name. BadSchedule: there is no such."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, KeyError):
        raise BadSchedule(f"unknown time zone {name}") from None


def parse(text: str) -> Schedule:
    """The schedule a text stands for. BadSchedule says what is wrong with it."""
    if not text.strip():
        raise BadSchedule("empty spec string")
    if text.startswith("@every "):
        return Schedule(every=_duration(text.removeprefix("@every "), text))
    if text.startswith("@"):
        if text not in _WORDS:
            raise BadSchedule(f"unrecognized descriptor: {text}")
        text = _WORDS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise BadSchedule(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    minutes, hours, days, months, weekdays = (
        _field(part, *bounds) for part, bounds in zip(parts, _FIELDS, strict=True))
    return Schedule(minutes[0], hours[0], days[0], months[0], weekdays[0], any_day=days[1] or weekdays[1])


def _duration(text: str, whole: str) -> float:
    if not re.fullmatch(r"\+?(\d+(\.\d*)?(h|ms|us|µs|ns|m|s))+", text):
        raise BadSchedule(f'failed to parse duration {whole}: time: invalid duration "{text}"')
    parts = re.findall(r"(\d+(?:\.\d*)?)(h|ms|us|µs|ns|m|s)", text)
    return float(max(1, int(sum(float(number) * _UNITS[unit] for number, unit in parts))))


def _field(text: str, low: int, high: int, names: dict[str, int]) -> tuple[frozenset[int], bool]:
    """The numbers of one field, and whether it is a star."""
    found: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            numbers, starred = _range(part, low, high, names)
            found |= numbers
            star = star or starred
    return frozenset(found), star


def _range(text: str, low: int, high: int, names: dict[str, int]) -> tuple[set[int], bool]:
    span, *steps = text.split("/")
    ends = span.split("-")
    if len(steps) > 1:
        raise BadSchedule(f"too many slashes: {text}")
    star = ends[0] in ("*", "?")
    if star:
        first, last = low, high
    else:
        if len(ends) > 2:
            raise BadSchedule(f"too many hyphens: {text}")
        first = _number(ends[0], names)
        last = _number(ends[1], names) if len(ends) == 2 else high if steps else first
    step = _number(steps[0], {}) if steps else 1
    if first < low:
        raise BadSchedule(f"beginning of range ({first}) below minimum ({low}): {text}")
    if last > high:
        raise BadSchedule(f"end of range ({last}) above maximum ({high}): {text}")
    if first > last:
        raise BadSchedule(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    if step == 0:
        raise BadSchedule(f"step of range should be a positive number: {text}")
    return set(range(first, last + 1, step)), star and step == 1


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise BadSchedule(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise BadSchedule(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)
