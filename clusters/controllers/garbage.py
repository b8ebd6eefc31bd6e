"""Whether an object has lost all its owners. Pure.

The API server removes dependents with their owner; this is for those that were made while the owner went.
Rule: "Garbage Collection" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What happens to one object."""

    delete: bool = False
    owners: list[Object] | None = None  # the references to keep, when some must be taken off


def plan(item: Object, gone: Collection[str]) -> Plan:
    """Decide for one object; ``gone`` are uids of its owners known to exist no more."""
    owners = item["metadata"].get("ownerReferences") or []
    alive = [ref for ref in owners if ref["uid"] not in gone]
    if item["metadata"].get("deletionTimestamp") or len(alive) == len(owners):
        return Plan()
    return Plan(owners=alive) if alive else Plan(delete=True)
