"""The indexes of an indexed Job, and the text they are kept as: ``0-2,5``. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def indexes_of(text: str) -> set[int]:
    """The numbers of a text such as ``0-2,5``; what is no number is left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first.isdecimal() and (last.isdecimal() or not dash):
            found |= set(range(int(first), int(last or first) + 1))
    return found


def listed(numbers: Collection[int]) -> str:
    """The text for a set of numbers; two neighbours are written as ``0,1``, three as ``0-2``."""
    parts: list[str] = []
    run: list[int] = []
    for number in [*sorted(numbers), -2]:
        if run and number != run[-1] + 1:
            parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(each) for each in run]
            run = []
        run.append(number)
    return ",".join(parts)


def index_of(pod: dict[str, Any], annotation: str) -> int:
    """A pod's index; -1 when it has none."""
    text = str((pod["metadata"].get("annotations") or {}).get(annotation, ""))
    return int(text) if text.isdecimal() else -1


def next_indexes(busy: Collection[int], count: int, completions: int) -> list[int]:
    """The first ``count`` indexes below ``completions`` that are neither done nor being worked on."""
    return [number for number in range(completions) if number not in busy][:count]
