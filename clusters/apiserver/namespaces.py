"""What a namespace says of itself while it ends: its conditions. Pure.

Words: ``pkg/controller/namespace/deletion/status_condition_utils.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clusters.apiserver.resources import Resource

Object = dict[str, Any]

_FINE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": (
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}


def conditions(
    left: Mapping[Resource, Sequence[Object]], before: Iterable[Object], now: str
) -> list[Object]:
    """The conditions of a namespace in which these objects are left; ``now`` is a timestamp."""
    held = {condition["type"]: condition for condition in before}
    told: list[Object] = []
    for kind, (reason, message) in _trouble(left).items():
        bad = (reason, message) != _FINE[kind]
        new = {"type": kind, "status": str(bad), "reason": reason, "message": message}
        old = held.get(kind, {})
        same = all(old.get(field) == value for field, value in new.items())
        told.append(old if same else {**new, "lastTransitionTime": now})
    return told


def _trouble(left: Mapping[Resource, Sequence[Object]]) -> dict[str, tuple[str, str]]:
    found = dict(_FINE)
    names = {f"{kind.plural}.{kind.group}": len(objects) for kind, objects in left.items() if objects}
    if names:
        parts = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(names.items()))
        found["NamespaceContentRemaining"] = (
            "SomeResourcesRemain",
            f"Some resources are remaining: {parts}",
        )
    holding = Counter(
        finalizer
        for objects in left.values()
        for obj in objects
        for finalizer in obj["metadata"].get("finalizers") or ()
    )
    if holding:
        parts = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(holding.items()))
        found["NamespaceFinalizersRemaining"] = (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {parts}",
        )
    return found
