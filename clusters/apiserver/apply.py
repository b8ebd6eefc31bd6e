"""Server-side apply: a manager's whole wish for an object, merged into what is there. Pure and total.

KEP-555. What the manager wished before and no longer wishes is removed, unless somebody else owns it.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from clusters.apiserver.managers import APPLY, Entry, before_first, conflict, conflicts, write
from clusters.apiserver.ownership import Object, Path, Shape, key_of, owned, shape_of, value_step
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import bad_request


def check_wish(wish: Any, manager: str) -> Object:
    """The object of an apply request. Refused 400 for what cannot be one."""
    if not isinstance(wish, dict):
        raise bad_request("error decoding YAML: an object was expected")
    metadata = wish.get("metadata")
    if not isinstance(metadata, dict):
        raise bad_request("metadata is missing: an apply names its object in metadata.name")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if not manager:
        words = "fieldManager: Required value: is required for apply patch"
        raise bad_request(f'PatchOptions.meta.k8s.io "" is invalid: {words}')
    return wish


def applied(resource: Resource, live: Object, wish: Object, writer: Entry, *, force: bool) -> Object:
    """The object after an apply, with its managers. Refused 409 for fields of others, unless forced."""
    entries = before_first(resource, live)
    wanted, present = owned(resource, wish), owned(resource, live)
    found = conflicts(entries, writer, wanted, present)
    if found and not force:
        raise conflict(found)
    taken = {(id(entry), path) for entry, path in found}
    mine = frozenset(wanted)
    before: frozenset[Path] = frozenset()
    others = []
    for entry in entries:
        if entry.same_writer(writer):
            before = entry.fields
            if before == mine:
                writer = replace(writer, time=entry.time)
        else:
            kept = frozenset(path for path in entry.fields if (id(entry), path) not in taken)
            others.append(replace(entry, fields=kept))
    result: Object = _merged(live, wish, shape_of(resource))
    held = {path[:size] for entry in others for path in entry.fields for size in range(1, len(path) + 1)}
    for path in sorted(before - mine, key=len):  # an item before its fields, by which it is found
        if path not in held and not any(other[: len(path)] == path for other in mine):
            _remove(result, shape_of(resource), path)
    write(result, [*others, replace(writer, operation=APPLY, fields=mine)])
    return result


def _merged(live: Any, wish: Any, shape: Shape) -> Any:
    if isinstance(wish, dict) and isinstance(live, dict) and not shape.is_atomic:
        result = dict(live)
        for name, value in wish.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = _merged(live.get(name), value, shape.child(name))
        return result
    if isinstance(wish, list) and isinstance(live, list) and shape.keys:
        return _merged_items(live, wish, shape)
    if isinstance(wish, list) and isinstance(live, list) and shape.is_set:
        return live + [item for item in wish if item not in live]
    return copy.deepcopy(wish)


def _merged_items(live: list[Any], wish: list[Any], shape: Shape) -> list[Any]:
    """The wished items in the order wished; items only others have stay where they were before them."""
    have = {key_of(item, shape.keys): item for item in live}
    wanted = {key_of(item, shape.keys) for item in wish}
    merged = [_merged(have.get(key_of(item, shape.keys), {}), item, shape.item) for item in wish]
    return merged + [item for item in live if key_of(item, shape.keys) not in wanted]


def _remove(obj: Any, shape: Shape, path: Path) -> None:
    """Removes, in place, the field at a path, where it is."""
    trail = []
    at = obj
    for step in path[:-1]:
        inner, shape = _step(at, shape, step)
        if inner is None:
            return
        trail.append((at, step))
        at = inner
    last = path[-1]
    if last.startswith("f:") and isinstance(at, dict):
        at.pop(last[2:], None)
    elif isinstance(at, list):
        keyed, keys = last.startswith("k:"), shape.keys
        at[:] = [item for item in at if (key_of(item, keys) if keyed else value_step(item)) != last]
    for holder, step in reversed(trail):  # what became empty by it goes, too
        if at or not isinstance(holder, dict) or not step.startswith("f:"):
            return
        holder.pop(step[2:], None)
        at = holder


def _step(at: Any, shape: Shape, step: str) -> tuple[Any, Shape]:
    if step.startswith("f:") and isinstance(at, dict):
        return at.get(step[2:]), shape.child(step[2:])
    if step.startswith("k:") and isinstance(at, list):
        return next((item for item in at if key_of(item, shape.keys) == step), None), shape.item
    return None, shape
