"""Which objects an owner controls, which strays it takes in, and which it lets go. Pure.

Rule: ``ControllerRefManager`` of Kubernetes: an object whose labels no longer match is let go, one without a
controller that matches is taken in, and neither by an owner that is going itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from clusters.controllers.cache import controller_of
from clusters.controllers.pods import is_finished, is_terminating, matches

Object = dict[str, Any]


@dataclass(frozen=True)
class Claims:
    """What an owner has: all of it (``adopt`` included), and the ownership to be written."""

    mine: list[Object] = field(default_factory=list)
    adopt: list[Object] = field(default_factory=list)
    release: list[Object] = field(default_factory=list)


def selector_of(owner: Object) -> Object:
    """The LabelSelector of an owner; a ReplicationController's is the labels themselves."""
    found: Object = owner["spec"].get("selector") or {}
    return {"matchLabels": found} if owner["kind"] == "ReplicationController" else found


def claim(owner: Object, items: Iterable[Object]) -> Claims:
    """Decide for the objects of the owner's namespace."""
    selector, uid, going = selector_of(owner), owner["metadata"]["uid"], is_terminating(owner)
    found = Claims()
    for item in items:
        controller = controller_of(item)
        if controller is not None and controller["uid"] != uid:
            continue
        fits = matches(selector, item["metadata"].get("labels"))
        if controller is None:
            if fits and not going and not is_terminating(item) and not is_finished(item):
                found.mine.append(item)
                found.adopt.append(item)
        elif fits or going or is_terminating(item):
            found.mine.append(item)
        else:
            found.release.append(item)
    return found


def owner_reference(owner: Object) -> Object:
    """The reference a controlled object carries to its owner."""
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }


def owners_after(item: Object, owner: Object, *, adopted: bool) -> list[Object]:
    """The owner references of an object that ``owner`` takes in or lets go."""
    uid = owner["metadata"]["uid"]
    others = [ref for ref in item["metadata"].get("ownerReferences") or () if ref["uid"] != uid]
    return [*others, owner_reference(owner)] if adopted else others
