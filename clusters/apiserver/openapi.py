"""``/openapi/v3``: the fields of every kind, made from ``schemas`` and from custom resources' own. Pure.

Enough for ``kubectl explain``, for its question whether the server checks fields, and for clients that
look for schemas by group, version and kind. Descriptions are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clusters.apiserver import schemas
from clusters.apiserver.discovery import VERSION
from clusters.apiserver.resources import Catalogue, Resource

_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "duration": {"type": "string"},
    "intOrString": {"x-kubernetes-int-or-string": True, "format": "int-or-string"},
    "quantity": {"x-kubernetes-int-or-string": True},
    "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "json": {"x-kubernetes-preserve-unknown-fields": True},
    "fields": {"type": "object"},
}
_HEAD = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
_OPTIONS = ("dryRun", "fieldManager", "fieldValidation")


def paths(kinds: Catalogue) -> dict[str, Any]:
    """``/openapi/v3``: where the description of each group stands."""
    return {
        "paths": {
            _base(*pair): {"serverRelativeURL": f"/openapi/v3/{_base(*pair)}"} for pair in kinds.groups()
        }
    }


def _base(name: str, version: str) -> str:
    return f"apis/{name}/{version}" if name else f"api/{version}"


def document(kinds: Catalogue, path: str) -> dict[str, Any] | None:
    """``/openapi/v3/<group path>``, or None when there is no such group."""
    pair = next((pair for pair in kinds.groups() if path == _base(*pair)), None)
    if pair is None:
        return None
    served = [resource for resource in kinds.all() if (resource.group, resource.version) == pair]
    components: dict[str, Any] = {}
    for resource in served:
        _describe(resource, components)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": dict(entry for resource in served for entry in _operations(path, resource)),
        "components": {"schemas": components},
    }


def _component(kind: str) -> str:
    """A type's name as clients know it from Kubernetes' own description."""
    group = kind.partition(".")[0]
    if group == "meta":
        return f"io.k8s.apimachinery.pkg.apis.{kind}"
    if group == "apiextensions":
        return f"io.k8s.apiextensions-apiserver.pkg.apis.{kind}"
    return f"io.k8s.api.{kind}"


def _describe(resource: Resource, components: dict[str, Any]) -> None:
    kinds = [{"group": resource.group, "version": resource.version, "kind": resource.kind}]
    if resource.custom is not None:
        found = dict(resource.custom.schema)
        properties = {**_HEAD, **found.get("properties", {}), "metadata": _schema("meta.v1.ObjectMeta")}
        _add("meta.v1.ObjectMeta", components)
        group = ".".join(reversed(resource.group.split(".")))
        name = f"{group}.{resource.version}.{resource.kind}"
        components[name] = {**found, "properties": properties, "x-kubernetes-group-version-kind": kinds}
        return
    _add(resource.type, components)
    told = components[_component(resource.type)]
    told["properties"] = {**_HEAD, **told["properties"]}
    told["x-kubernetes-group-version-kind"] = kinds


def _add(kind: str, components: dict[str, Any]) -> None:
    """Adds a type, and every type its fields speak of."""
    name = _component(kind)
    if name in components:
        return
    components[name] = {"type": "object"}
    properties = {}
    for field in schemas.fields(kind).values():
        properties[field.name] = {**_schema(field.type), **_merging(field)}
        if schemas.is_type(field.item):
            _add(field.item, components)
    components[name] = {"type": "object", "properties": properties}


def _schema(kind: str) -> dict[str, Any]:
    if kind.startswith("["):
        return {"type": "array", "items": _schema(kind.partition("]")[2])}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": _schema(kind[2:])}
    if schemas.is_type(kind):
        return {"allOf": [{"$ref": f"#/components/schemas/{_component(kind)}"}], "default": {}}
    return dict(_SCALARS[kind])


def _merging(field: schemas.Field) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if field.is_merged:
        told["x-kubernetes-patch-strategy"] = "merge"
    if field.merge_key:
        told["x-kubernetes-patch-merge-key"] = field.merge_key
    if field.keys:
        told |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(field.keys)}
    elif field.is_set:
        told["x-kubernetes-list-type"] = "set"
    elif field.is_list:
        told["x-kubernetes-list-type"] = "atomic"
    if field.is_atomic:
        told["x-kubernetes-map-type"] = "atomic"
    return told


def _operations(base: str, resource: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    place = "namespaces/{namespace}/" if resource.namespaced else ""
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _OPTIONS
    ]

    def operation(action: str, *, writes: bool) -> dict[str, Any]:
        told = {"responses": {}, "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind}
        return {"parameters": parameters, **told} if writes else told

    collection = f"/{base}/{place}{resource.plural}"
    if "list" not in resource.verbs:
        yield collection, {"post": operation("post", writes=True)}
        return
    yield collection, {"get": operation("list", writes=False), "post": operation("post", writes=True)}
    yield (
        f"{collection}/{{name}}",
        {
            "get": operation("get", writes=False),
            "put": operation("put", writes=True),
            "patch": operation("patch", writes=True),
        },
    )
