"""The fields of every built-in kind: names, types, numbers in protobuf, how lists merge. Pure.

``schemas.json`` is made by ``ci/schemas`` from the Go types of Kubernetes 1.36: for each type its fields, and
of each field the number, the type and, where there are such, ``merge=KEY`` (strategic merge by key; ``merge``
alone: a set), ``keys=A,B`` and ``set`` (server-side apply), ``atomic`` (applied whole), ``retain``, and
``ptr`` where being there without a value says something. A type's name is ``group.version.Kind``;
``[]T`` is a list, ``{}T`` a map from text; ``[!]T`` a list that is a message of its
own in protobuf. A field whose name begins with ``+`` is a message there and part of its parent in JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources as files

import msgspec

_RAW: dict[str, dict[str, str]] = msgspec.json.decode(
    files.files(__package__).joinpath("schemas.json").read_bytes()
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its JSON name, number in protobuf, type, and how changes of it merge."""

    name: str
    number: int
    type: str
    merge_key: str = ""
    is_merged: bool = False
    keys: tuple[str, ...] = ()
    is_set: bool = False
    is_atomic: bool = False
    is_optional: bool = False

    @property
    def is_list(self) -> bool:
        """True for a list."""
        return self.type.startswith("[")

    @property
    def is_map(self) -> bool:
        """True for a map from text."""
        return self.type.startswith("{")

    @property
    def item(self) -> str:
        """The type of an item, or the type itself."""
        return self.type.replace("[!]", "", 1).removeprefix("[]").removeprefix("{}")


def _field(name: str, text: str) -> Field:
    number, kind, *flags = text.split(" ")
    told = dict(flag.partition("=")[::2] for flag in flags)
    return Field(
        name,
        int(number),
        kind,
        told.get("merge", ""),
        "merge" in told,
        tuple(filter(None, told.get("keys", "").split(","))),
        "set" in told,
        "atomic" in told,
        "ptr" in told,
    )


@cache
def message(kind: str) -> dict[int, Field]:
    """The fields of a type by number, as protobuf has them; none for a name that is no type of fields."""
    found = (_field(name, text) for name, text in _RAW.get(kind, {}).items())
    return {field.number: field for field in found}


@cache
def fields(kind: str) -> dict[str, Field]:
    """The fields of a type by name, as JSON has them; none for a name that is no type of fields."""
    found: dict[str, Field] = {}
    for name, text in _RAW.get(kind, {}).items():
        field = _field(name, text)
        if name.startswith("+"):
            found.update(fields(field.type))
        else:
            found[name] = field
    return found


def is_type(kind: str) -> bool:
    """True for a type with fields of its own (which may be none)."""
    return kind in _RAW


def type_name(group: str, version: str, kind: str) -> str:
    """The name of a kind's type, whether there is one or not."""
    return f"{group.partition('.')[0] or 'core'}.{version}.{kind}"
