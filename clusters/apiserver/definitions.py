"""CustomResourceDefinitions: what is wrong with one, and which kinds it makes this server serve. Pure.

Rules: ``apiextensions.k8s.io/v1`` of Kubernetes 1.36. Versions differ in their schema only: objects are not
converted between them (strategy ``None``), whatever webhook a definition names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clusters.apiserver import custom
from clusters.apiserver.columns import NONE, Cells, Column, Layout, age, name, part, since
from clusters.apiserver.resources import Custom, Resource
from clusters.apiserver.status import FieldError, invalid, required

Object = dict[str, Any]
_AGE = Column("Age", "date")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']+)'\]|\[\?\(@\.(\w+)==[\"']([^\"']*)[\"']\)\]")


def set_defaults(obj: Object) -> None:
    """Sets, in place, the names a definition leaves out, and how its versions convert."""
    spec = obj.setdefault("spec", {})
    found = spec.setdefault("names", {})
    kind = found.get("kind", "")
    found.setdefault("singular", kind.lower())
    found.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})


def errors(obj: Object) -> list[FieldError]:
    """What is wrong with a definition."""
    spec, wrong = obj["spec"], []
    found, versions = spec.get("names") or {}, spec.get("versions") or []
    wrong += [required(f"spec.{field}") for field in ("group", "scope") if not spec.get(field)]
    wrong += [required(f"spec.names.{field}") for field in ("plural", "kind") if not found.get(field)]
    expected = f"{found.get('plural', '')}.{spec.get('group', '')}"
    if obj["metadata"].get("name") != expected:
        words = 'must be spec.names.plural+"."+spec.group'
        wrong.append(invalid("metadata.name", obj["metadata"].get("name", ""), words))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        words = "must have exactly one version marked as storage version"
        wrong.append(invalid("spec.versions", [v.get("name", "") for v in versions], words))
    for index, version in enumerate(versions):
        if not isinstance((version.get("schema") or {}).get("openAPIV3Schema"), Mapping):
            wrong.append(required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required"))
    return wrong


def established(obj: Object, now: str) -> Object:
    """The status of a definition that is served from ``now`` on."""
    spec = obj["spec"]
    told = {"NamesAccepted": ("NoConflicts", "no conflicts found")}
    told["Established"] = ("InitialNamesAccepted", "the initial names have been accepted")
    return {
        "acceptedNames": spec["names"],
        "storedVersions": [version["name"] for version in spec["versions"] if version.get("storage")],
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
            for kind, (reason, message) in told.items()
        ],
    }


def resources(obj: Object) -> list[Resource]:
    """The kinds a definition makes: one for each served version, the one that holds the objects first."""
    spec = obj["spec"]
    storage = next(version for version in spec["versions"] if version.get("storage"))
    found = [_resource(spec, storage, "")]
    home = f"{spec['group']}/{storage['name']}/{spec['names']['plural']}"
    others = (v for v in spec["versions"] if v is not storage and v.get("served", True))
    return found + [_resource(spec, version, home) for version in others]


def _resource(spec: Object, version: Object, stored_as: str) -> Resource:
    found, below = spec["names"], version.get("subresources") or {}
    return Resource(
        spec["group"],
        version["name"],
        found["plural"],
        found["kind"],
        spec.get("scope") != "Cluster",
        tuple(found.get("shortNames") or ()),
        ("status",) if "status" in below else (),
        tuple(found.get("categories") or ()),
        has_generation=True,
        stored_as=stored_as,
        warning=_printable(version.get("deprecationWarning") or _deprecated(spec, version)),
        layout=_layout(version),
        custom=Custom(version["schema"]["openAPIV3Schema"], found["listKind"], found["singular"]),
    )


def _deprecated(spec: Object, version: Object) -> str:
    if not version.get("deprecated"):
        return ""
    return f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"


def _printable(text: str) -> str:
    """A text that may stand between quotes in a header."""
    return "".join(sign if sign.isprintable() and sign not in '"\\' else "'" for sign in text)


def _layout(version: Object) -> Layout:
    told = version.get("additionalPrinterColumns") or [
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ]
    columns = tuple(
        Column(
            column.get("name", ""),
            column.get("type", "string"),
            bool(column.get("priority")),
            column.get("format", ""),
            column.get("description", ""),
        )
        for column in told
    )

    def cells(obj: Mapping[str, Any], now: float) -> Cells:
        return [name(obj), *(_cell(obj, column, now) for column in told)]

    return Layout((Column("Name"), *columns), cells)


def _cell(obj: Mapping[str, Any], column: Object, now: float) -> Any:
    path = column.get("jsonPath", "")
    if path == ".metadata.creationTimestamp":
        return age(obj, now)
    values = _at(obj, path)
    if not values:
        return ""
    if column.get("type") == "date":
        return since(values[0], now) if values[0] else NONE
    value = values[0] if len(values) == 1 else values
    if isinstance(value, dict | list) or column.get("type") == "string":
        return _text(value)
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return custom.compact(value)


def _at(obj: Any, path: str) -> list[Any]:
    """The values at a simple JSON path: fields, an index, or items chosen by the text of one field."""
    found, end = [obj], 0
    for step in _STEP.finditer(path):
        if step.start() != end:
            return []
        end = step.end()
        field, index, quoted, key, wanted = step.groups()
        if key:
            items = [item for value in found if isinstance(value, list) for item in value]
            found = [item for item in items if str(part(item, key)) == wanted]
        elif index:
            at = int(index[:9])
            found = [value[at] for value in found if isinstance(value, list) and len(value) > at]
        else:
            wanted = field or quoted
            found = [value[wanted] for value in found if isinstance(value, dict) and wanted in value]
    return found if end == len(path) else []
