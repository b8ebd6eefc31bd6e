"""The words of a cell: ages, lists, selectors, ``<none>``. Pure; as ``kubectl get`` is used to print them.

Rules: ``k8s.io/apimachinery/pkg/util/duration`` and ``pkg/printers/internalversion`` of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
Cells = list[Any]
NONE, UNKNOWN, UNSET = "<none>", "<unknown>", "<unset>"
_MOST = 3  # of a list are shown, then how many more there are


@dataclass(frozen=True)
class Column:
    """One column: ``wide`` ones are printed by ``-o wide`` only; ``kind`` and ``format`` as in OpenAPI."""

    name: str
    kind: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """The definition as a Table carries it."""
        shown = "name" if self.name == "Name" else self.format
        return {
            "name": self.name,
            "type": self.kind,
            "format": shown,
            "description": self.description or self.name,
            "priority": int(self.wide),
        }


@dataclass(frozen=True)
class Layout:
    """How objects of one kind are shown: the columns, and the cells of an object at a time in seconds."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, float], Cells]


def columns(text: str) -> tuple[Column, ...]:
    """Columns from their names by commas; ``*`` at the end: wide only, ``#``: whole numbers."""
    found = []
    for word in text.split(","):
        name = word.strip()
        wide, number = name.endswith("*"), name.rstrip("*").endswith("#")
        found.append(Column(name.rstrip("*#"), "integer" if number else "string", wide))
    return tuple(found)


def human(seconds: float) -> str:
    """A span of time in at most two units, as kubectl writes ages: ``23s``, ``2m27s``, ``3d5h``, ``11d``."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole >= -1 else "<invalid>"
    minutes, hours = whole // 60, whole // 3600
    if whole < 120:
        told = f"{whole}s"
    elif minutes < 10:
        told = _two(minutes, "m", whole % 60, "s")
    elif minutes < 180:
        told = f"{minutes}m"
    elif hours < 8:
        told = _two(hours, "h", minutes % 60, "m")
    else:
        told = f"{hours}h" if hours < 48 else _in_days(hours)
    return told


def _in_days(hours: int) -> str:
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(first: int, one: str, second: int, two: str) -> str:
    return f"{first}{one}{second}{two}" if second else f"{first}{one}"


def moment(text: Any) -> float | None:
    """The seconds since 1970 of a timestamp in an object; None where it is missing or no time."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def since(text: Any, now: float) -> str:
    """The age of a timestamp, or ``<unknown>``."""
    at = moment(text)
    return UNKNOWN if at is None else human(now - at)


def age(obj: Object, now: float) -> str:
    """How long ago the object was made."""
    return since(obj["metadata"].get("creationTimestamp"), now)


def name(obj: Object) -> str:
    """The object's name."""
    return str(obj["metadata"].get("name", ""))


def part(obj: Any, *path: str) -> Any:
    """The value below a path of fields; an empty dict where there is none."""
    for step in path:
        obj = obj.get(step) if isinstance(obj, Mapping) else None
    return {} if obj is None else obj


def number(obj: Any, *path: str) -> int:
    """The whole number below a path; 0 where there is none."""
    found = part(obj, *path)
    return found if isinstance(found, int) else 0


def pairs(labels: Any) -> str:
    """Labels as ``a=b,c=d`` in order, or ``<none>``."""
    if not isinstance(labels, Mapping) or not labels:
        return NONE
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


_SIGNS = {"In": "in", "NotIn": "notin"}


def selector(found: Any) -> str:
    """A LabelSelector as text, ``<none>`` for an empty or missing one."""
    terms = [f"{key}={value}" for key, value in part(found, "matchLabels").items()]
    for term in part(found, "matchExpressions") or ():
        key, operator = term.get("key", ""), term.get("operator", "")
        if operator in _SIGNS:
            terms.append(f"{key} {_SIGNS[operator]} ({','.join(sorted(term.get('values') or ()))})")
        else:
            terms.append(key if operator == "Exists" else f"!{key}")
    return ",".join(sorted(terms)) or NONE


def some(items: Iterable[str], empty: str = NONE) -> str:
    """At most three of a list, and how many more there are; ``empty`` for none."""
    listed = list(items)
    if not listed:
        return empty
    shown = ",".join(listed[:_MOST])
    return f"{shown} + {len(listed) - _MOST} more..." if len(listed) > _MOST else shown


def containers(template: Any) -> Cells:
    """Two cells of a pod template: names and images of its containers."""
    found = part(template, "spec", "containers") or []
    return [
        ",".join(str(container.get("name", "")) for container in found),
        ",".join(str(container.get("image", "")) for container in found),
    ]


def condition(obj: Object, kind: str) -> str:
    """The status of one condition: ``True``, ``False``, ``Unknown``, or empty."""
    for found in part(obj, "status", "conditions") or ():
        if found.get("type") == kind:
            return str(found.get("status", ""))
    return ""


def boolean(value: Any) -> str:
    """``True``, ``False``, or ``<unset>``."""
    return str(value) if isinstance(value, bool) else UNSET
