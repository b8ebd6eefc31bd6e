"""Who owns which fields of an object: the sets of ``metadata.managedFields``. Pure and total.

A field is a path of steps as ``FieldsV1`` writes them: ``f:name`` a field, ``k:{…}`` an item by its keys,
``v:…`` an item of a set. Rules: ``sigs.k8s.io/structured-merge-diff`` and KEP-555.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clusters.apiserver import schemas
from clusters.apiserver.resources import Resource

Path = tuple[str, ...]
Fields = frozenset[Path]
Object = dict[str, Any]

# Fields nobody owns: the server's own, and those that name the object.
_STRIPPED = {("f:apiVersion",), ("f:kind",), ("f:metadata",)} | {
    ("f:metadata", f"f:{name}")
    for name in (
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    )
}
_KEY_DEFAULTS = {"protocol": "TCP"}  # of keys that may be left out, as the API declares them


@dataclass(frozen=True)
class Shape:
    """How a value merges: from a built-in field or from a custom resource's schema."""

    keys: tuple[str, ...] = ()
    is_set: bool = False
    is_atomic: bool = False
    type: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)

    def child(self, name: str) -> Shape:
        """The shape of a field of this value."""
        if self.schema:
            return _of_schema(
                (self.schema.get("properties") or {}).get(name)
                or self.schema.get("additionalProperties")
                or {}
            )
        if self.type.startswith("{}"):
            return Shape(type=self.type[2:])
        found = schemas.fields(self.type).get(name)
        if found is None:
            return Shape()
        return Shape(found.keys, found.is_set, found.is_atomic, found.item if found.is_list else found.type)

    @property
    def item(self) -> Shape:
        """The shape of an item of a keyed list."""
        if self.schema:
            return _of_schema(self.schema.get("items") or {})
        return Shape(type=self.type)


def _of_schema(schema: Any) -> Shape:
    if not isinstance(schema, Mapping):
        return Shape()
    kind = schema.get("x-kubernetes-list-type")
    return Shape(
        tuple(schema.get("x-kubernetes-list-map-keys") or ()) if kind == "map" else (),
        kind == "set",
        schema.get("x-kubernetes-map-type") == "atomic",
        "",
        {"x": None, **schema},
    )


def shape_of(resource: Resource) -> Shape:
    """The shape of a whole object."""
    if resource.custom is None:
        return Shape(type=resource.type)
    schema = resource.custom.schema
    known = {**(schema.get("properties") or {}), "metadata": _METADATA_SCHEMA}
    return Shape(schema={**schema, "properties": known})


_METADATA_SCHEMA = {
    "properties": {
        "finalizers": {"x-kubernetes-list-type": "set"},
        "ownerReferences": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
    }
}


def key_of(item: Any, keys: tuple[str, ...]) -> str | None:
    """The step to an item of a keyed list; None when it lacks a key that has no default."""
    if not isinstance(item, dict):
        return None
    found = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in sorted(keys)}
    if all(value is None for value in found.values()):
        return None
    told = {key: value for key, value in found.items() if value is not None}
    return "k:" + json.dumps(told, separators=(",", ":"))


def value_step(item: Any) -> str:
    """The step to an item of a set."""
    return "v:" + json.dumps(item, separators=(",", ":"), sort_keys=True)


def leaves(value: Any, shape: Shape, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field with its value: the ends, and the items of keyed lists themselves (value None)."""
    if isinstance(value, dict) and not shape.is_atomic:
        if not value and path:
            yield path, value
        for name, inner in value.items():
            yield from leaves(inner, shape.child(name), (*path, f"f:{name}"))
    elif isinstance(value, list) and shape.keys:
        for item in value:
            step = key_of(item, shape.keys)
            if step is not None:
                yield (*path, step), None
                yield from leaves(item, shape.item, (*path, step))
    elif isinstance(value, list) and shape.is_set:
        for item in value:
            yield (*path, value_step(item)), None
    else:
        yield path, value


def owned(resource: Resource, obj: Object) -> dict[Path, Any]:
    """The fields of an object that somebody can own, with their values."""
    found = dict(leaves(obj, shape_of(resource)))
    return {
        path: value
        for path, value in found.items()
        if path and path not in _STRIPPED and path[:2] not in _STRIPPED
    }


def to_fields(paths: Fields) -> Object:
    """A set of fields as ``FieldsV1``."""
    root: Object = {}
    for path in sorted(paths):
        at = root
        for step in path:
            at = at.setdefault(step, {})
    for path in paths:
        at = root
        for step in path:
            at = at[step]
        if at and "." not in at:
            at["."] = {}
    return root


def from_fields(value: Any) -> Fields:
    """A set of fields from ``FieldsV1``; whatever is no such thing is left out."""
    found: set[Path] = set()

    def walk(at: Any, path: Path) -> None:
        if not isinstance(at, dict) or (not at and path):
            found.add(path)
            return
        for step, inner in at.items():
            if step == ".":
                found.add(path)
            elif step[:2] in {"f:", "k:", "v:"}:
                walk(inner, (*path, step))

    walk(value, ())
    return frozenset(path for path in found if path)


def shown(path: Path) -> str:
    """A field as messages name it: ``.spec.ports[port=80,protocol="TCP"].nodePort``."""
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        elif step.startswith("v:"):
            text += f"[={step[2:]}]"
        else:
            pairs = json.loads(step[2:]).items()
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in pairs) + "]"
    return text
