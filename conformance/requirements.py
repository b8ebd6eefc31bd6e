"""A requirement is a value: ID, level, one sentence, what it needs, where the rule comes from, and a body.

IDs and levels are the catalogue's. An ID is written, never counted, and never reused (``ids.lock``).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from conformance.features import Feature

ID = re.compile(r"^(?P<area>[A-Z][A-Z0-9]*(?:-[A-Z][A-Z0-9]*)*)-(?P<number>[0-9]{2,3})$")
LOCK = Path(__file__).with_name("ids.lock")

Body = Callable[[Any], Awaitable[None]]  # called with the engine's Lab


class Level(StrEnum):
    """Who must show it."""

    CORE = "core"  # every Service implementation
    EXT = "ext"  # those that declare the feature
    IMPL = "impl"  # legitimately differs: declared first, then held to the declaration


class RequirementError(Exception):
    """A requirement is written or asked for wrongly; says which, what was expected, and what to do next."""


@dataclass(frozen=True)
class Requirement:
    """One behaviour that must be seen."""

    id: str
    level: Level
    sentence: str  # what MUST be seen; the docstring of the body
    source: str  # where the rule comes from
    area: str  # the ID without its number
    needs: frozenset[str]  # powers and rigs: "two-nodes", "outside", "snapshot", …
    features: frozenset[Feature]  # judged only where all of them are declared
    disruptive: bool  # runs alone
    body: Body

    def as_record(self) -> dict[str, Any]:
        """The requirement as the header of the evidence holds it."""
        return {
            "id": self.id, "level": self.level.value, "sentence": self.sentence, "source": self.source,
            "area": self.area, "needs": sorted(self.needs), "features": sorted(self.features),
        }


_registered: dict[str, Requirement] = {}


def requirement(
    id: str, level: Level, *, source: str, needs: Iterable[str] = (), features: Iterable[Feature] = (),
    disruptive: bool = False,
) -> Callable[[Body], Body]:
    """Register the decorated ``async def body(lab)``; its docstring is the requirement's sentence.

    Raises RequirementError when the ID is ill-formed or taken, or when sentence or source is missing.
    """
    matched = ID.match(id)
    if matched is None:
        raise RequirementError(f"{id!r} is no requirement ID; write AREA-NN as the catalogue: CLUSTERIP-01")
    if not source.strip():
        raise RequirementError(f"{id} has no source; name the page, the KEP or what was observed")
    area = matched["area"]

    def register(body: Body) -> Body:
        sentence = " ".join((inspect.getdoc(body) or "").split())
        where = f"{body.__module__}.{getattr(body, '__qualname__', body)}"
        if not sentence:
            raise RequirementError(f"{id} ({where}) has no docstring; say in one sentence what must be seen")
        if not inspect.iscoroutinefunction(body):
            raise RequirementError(f"{id} ({where}) is no async function; the engine runs many at once")
        known = _registered.get(id)
        if known is not None:
            raise RequirementError(
                f"{id} is registered twice: {known.body.__module__} and {where}; take the next free number",
            )
        _registered[id] = Requirement(
            id, level, sentence, source.strip(), area, frozenset(needs), frozenset(features), disruptive,
            body,
        )
        return body

    return register


def registry() -> dict[str, Requirement]:
    """Every requirement registered so far, by ID and in ID order (``areas.load_areas()`` registers all)."""
    return dict(sorted(_registered.items()))


def select(
    known: Mapping[str, Requirement], *, ids: Iterable[str] = (), areas: Iterable[str] = (),
    levels: Iterable[Level] = (),
) -> list[Requirement]:
    """Those of ``known`` named by ID or in a named area, and of one of ``levels``; in ID order.

    With neither IDs nor areas all are meant, without levels all levels. An ID may end in ``*``.
    Raises RequirementError for an ID or area that nothing has: a typing error must not select nothing.
    """
    wanted: set[str] = set()
    asked = False
    for pattern in ids:
        asked = True
        found = {id for id in known if id == pattern.upper() or _starred(pattern, id)}
        if not found:
            raise RequirementError(f"no requirement {pattern!r}{_nearest(pattern, known)}; `list` shows all")
        wanted |= found
    for area in areas:
        asked = True
        found = {id for id, one in known.items() if one.area == area.upper()}
        if not found:
            names = ", ".join(sorted({one.area for one in known.values()}))
            raise RequirementError(f"no requirement in area {area!r}; areas are {names or 'not loaded'}")
        wanted |= found
    permitted = frozenset(levels) or frozenset(Level)
    return [
        one for id, one in sorted(known.items())
        if (not asked or id in wanted) and one.level in permitted
    ]


def locked_ids(text: str | None = None) -> dict[str, str]:
    """Area by ID, of every ID ever published, in the order of ``ids.lock`` (or of ``text``).

    Each line is an ID and its area, and ``dropped`` where it is a hole: then that word stands for the area.
    ``#`` begins a comment. Raises RequirementError naming the line.
    """
    found: dict[str, str] = {}
    lines = (LOCK.read_text(encoding="utf-8") if text is None else text).splitlines()
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        matched = ID.match(words[0])
        if matched is None or words[1:] not in ([matched["area"]], [matched["area"], "dropped"]):
            raise RequirementError(f"ids.lock, line {number}: {line!r} is no ID and its area: `DNS-01 DNS`")
        if words[0] in found:
            raise RequirementError(f"ids.lock, line {number}: {words[0]} stands twice; an ID is never reused")
        found[words[0]] = words[-1]
    return found


def _starred(pattern: str, id: str) -> bool:
    return pattern.endswith("*") and id.startswith(pattern[:-1].upper())


def _nearest(pattern: str, known: Mapping[str, Requirement]) -> str:
    """A hint with what was probably meant; empty when nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(pattern.upper(), list(known), n=2)
    return f", did you mean {' or '.join(near)}?" if near else ""
