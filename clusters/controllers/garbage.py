"""What goes when its owner goes, and what an owner waits for before it goes. Pure.

Rules: "Garbage Collection" of the Kubernetes documentation: background, foreground and orphan deletion.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


@dataclass(frozen=True)
class Plan:
    """What happens to one object."""

    delete: bool = False
    owners: list[Object] | None = None  # the references to keep, when some must be taken off
    finalizers: list[str] | None = None  # the finalizers to keep, when one has done its work
    delete_dependents: list[Object] = field(default_factory=list)
    orphan_dependents: list[Object] = field(default_factory=list)


def plan(item: Object, gone: Collection[str], dependents: Sequence[Object]) -> Plan:
    """Decide for one object; ``gone`` are uids of its owners known to exist no more."""
    meta = item["metadata"]
    owners = meta.get("ownerReferences") or []
    alive = [ref for ref in owners if ref["uid"] not in gone]
    if meta.get("deletionTimestamp"):
        return _waiting(meta, dependents)
    if owners and not alive:
        return Plan(delete=True)
    return Plan(owners=alive if len(alive) < len(owners) else None)


def _waiting(meta: Object, dependents: Sequence[Object]) -> Plan:
    """An object that is going: its two finalizers of this collector."""
    finalizers = meta.get("finalizers") or []
    if ORPHAN in finalizers:
        if dependents:
            return Plan(orphan_dependents=list(dependents))
        return Plan(finalizers=[name for name in finalizers if name != ORPHAN])
    if FOREGROUND in finalizers:
        if dependents:
            staying = [d for d in dependents if not d["metadata"].get("deletionTimestamp")]
            return Plan(delete_dependents=staying)
        return Plan(finalizers=[name for name in finalizers if name != FOREGROUND])
    return Plan()


def without_owner(item: Object, uid: str) -> list[Object]:
    """The owner references of ``item`` without the one to ``uid``."""
    return [ref for ref in item["metadata"].get("ownerReferences") or () if ref["uid"] != uid]
