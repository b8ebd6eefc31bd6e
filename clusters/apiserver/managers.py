"""Field managers: the entries of ``metadata.managedFields``, kept up through updates and applies. Pure.

An object is tracked from the first request on that names its manager (``fieldManager``, as kubectl always
does) or applies; the cluster's own controllers name none, so their objects stay small and their writes fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clusters.apiserver.ownership import Fields, Object, Path, from_fields, owned, shown, to_fields
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import Refused

APPLY, UPDATE = "Apply", "Update"
_UNNAMED = "before-first-apply"


@dataclass(frozen=True)
class Entry:
    """What one manager owns by one kind of request."""

    manager: str
    operation: str
    version: str
    time: str
    fields: Fields
    subresource: str = ""

    @property
    def name(self) -> str:
        """The manager as messages of conflicts name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.version}" if self.operation == UPDATE else text

    def same_writer(self, other: Entry) -> bool:
        """True for entries that are one in ``managedFields``."""
        return (self.manager, self.operation, self.subresource) == (
            other.manager,
            other.operation,
            other.subresource,
        ) and (self.operation == APPLY or self.version == other.version)


def read(obj: Object) -> list[Entry]:
    """The entries of an object."""
    return [
        Entry(
            str(told.get("manager", "")),
            str(told.get("operation", UPDATE)),
            str(told.get("apiVersion", "")),
            str(told.get("time", "")),
            from_fields(told.get("fieldsV1")),
            str(told.get("subresource", "")),
        )
        for told in obj["metadata"].get("managedFields") or ()
        if isinstance(told, dict)
    ]


def write(obj: Object, entries: Iterable[Entry]) -> None:
    """Sets, in place, the entries of an object; those that own nothing are left out."""
    told = []
    for entry in sorted(entries, key=lambda e: (e.operation != APPLY, e.time, e.manager)):
        if entry.fields:
            shown_entry = {
                "manager": entry.manager,
                "operation": entry.operation,
                "apiVersion": entry.version,
                "time": entry.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": to_fields(entry.fields),
            }
            told.append(
                {**shown_entry, "subresource": entry.subresource} if entry.subresource else shown_entry
            )
    obj["metadata"].pop("managedFields", None)
    if told:
        obj["metadata"]["managedFields"] = told


@dataclass(frozen=True)
class Writer:
    """Who makes a request: the field manager, whether the request named it, and the kind of request."""

    manager: str
    operation: str = UPDATE
    subresource: str = ""
    named: bool = False

    def entry(self, resource: Resource, time: str) -> Entry:
        """Its entry, of no fields yet."""
        return Entry(self.manager, self.operation, resource.api_version, time, frozenset(), self.subresource)


def note_creator(resource: Resource, made: Object, sent: Object, writer: Writer | None, time: str) -> None:
    """Has a new object name its manager, where the request did."""
    if writer is not None and writer.named:
        write(made, after_creation(resource, made, sent, writer.entry(resource, time)))


def note_writer(
    resource: Resource, new: Object, old: Object, wished: Any, writer: Writer | None, time: str,
) -> None:
    """Keeps the managers of a changed object; an apply has decided them (``wished``) already."""
    if writer is not None and writer.operation == APPLY:
        new["metadata"]["managedFields"] = wished
    elif "managedFields" in old["metadata"]:
        mine = (writer or Writer("unknown")).entry(resource, time)
        write(new, after_update(resource, new, old, mine))


def after_creation(resource: Resource, made: Object, sent: Object, writer: Entry) -> list[Entry]:
    """The entries of a new object: who applies owns what it wished, who creates what has come of it."""
    return [replace(writer, fields=frozenset(owned(resource, sent if writer.operation == APPLY else made)))]


def after_update(resource: Resource, new: Object, old: Object, writer: Entry) -> list[Entry]:
    """The entries after ``writer`` changed an object: what it changed is its own alone."""
    now = owned(resource, new)
    before = owned(resource, old)
    changed = {path for path, value in now.items() if path not in before or before[path] != value}
    entries, mine = [], frozenset(changed)
    for entry in read(old):
        if entry.same_writer(writer):
            mine |= entry.fields
            if not changed:
                writer = entry
        else:
            kept = frozenset(path for path in entry.fields if path in now and path not in changed)
            entries.append(replace(entry, fields=kept))
    return [*entries, replace(writer, fields=frozenset(path for path in mine if path in now))]


def before_first(resource: Resource, live: Object) -> list[Entry]:
    """The entries of a live object; all its fields are somebody's when nobody was tracked yet."""
    found = read(live)
    if found:
        return found
    version = resource.api_version
    fields = frozenset(path for path in owned(resource, live) if path[0] != "f:status")
    return [Entry(_UNNAMED, UPDATE, version, live["metadata"].get("creationTimestamp", ""), fields)]


def conflicts(
    entries: Sequence[Entry], writer: Entry, wanted: dict[Path, Any], live: dict[Path, Any]
) -> list[tuple[Entry, Path]]:
    """The fields that ``writer`` would change and another manager owns."""
    return [
        (entry, path)
        for entry in entries
        if not entry.same_writer(writer)
        for path in sorted(entry.fields & wanted.keys())
        if path in live and live[path] != wanted[path]
    ]


def conflict(found: Sequence[tuple[Entry, Path]]) -> Refused:
    """409 in Kubernetes' words."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {entry.name}", "field": shown(path)}
        for entry, path in found
    ]
    if len(found) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = []
        for name in sorted({entry.name for entry, _ in found}):
            lines.append(f"conflicts with {name}:")
            lines += [f"- {shown(path)}" for entry, path in found if entry.name == name]
        message = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    return Refused(409, "Conflict", message, {"causes": causes})
