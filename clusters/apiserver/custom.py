"""Custom resources held to the schema of their definition: pruned, defaulted, judged. Pure and total.

Structural schemas of ``apiextensions.k8s.io/v1``; words as ``kube-openapi/pkg/validation``, Kubernetes 1.36.
CEL rules (``x-kubernetes-validations``) are not evaluated.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from clusters.apiserver.status import FieldError, invalid, not_supported, required

Schema = Mapping[str, Any]
_OPEN = "x-kubernetes-preserve-unknown-fields"
_OWN = {"metadata", "kind", "apiVersion"}  # the server's at the top: no schema speaks of their fields


def pruned(schema: Schema, value: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The object without its metadata and without fields its schema does not know; and their paths."""
    unknown: list[str] = []
    kept = _prune(schema, {name: item for name, item in value.items() if name not in _OWN}, "", unknown)
    return kept, unknown


def _child(schema: Schema, name: str) -> Schema | None:
    properties = schema.get("properties") or {}
    if name in properties:
        return dict(properties[name])
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        return more
    return {_OPEN: True} if more is True or schema.get(_OPEN) else None


def _prune(schema: Schema, value: Any, path: str, unknown: list[str]) -> Any:
    if isinstance(value, dict):
        result = {}
        for name, item in value.items():
            inner, at = _child(schema, name), f"{path}.{name}" if path else name
            if inner is None:
                unknown.append(at)
            elif item is not None or inner.get("nullable"):
                result[name] = _prune(inner, item, at, unknown)
        return result
    if isinstance(value, list):
        inner = schema.get("items") or {_OPEN: True}
        return [_prune(inner, item, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def set_defaults(schema: Schema, value: Any) -> None:
    """Sets, in place, the defaults of the schema where fields are left out."""
    if isinstance(value, dict):
        for name, inner in (schema.get("properties") or {}).items():
            if name not in value and "default" in inner:
                value[name] = copy.deepcopy(inner["default"])
        for name, item in value.items():
            found = _child(schema, name)
            if found is not None:
                set_defaults(found, item)
    elif isinstance(value, list):
        for item in value:
            set_defaults(schema.get("items") or {}, item)


def compact(value: Any) -> str:
    """A value as one line of JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def errors(schema: Schema, value: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with a custom resource; its metadata is judged elsewhere."""
    return _judge(schema, {name: item for name, item in value.items() if name not in _OWN}, "")


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    found = (name for name, kinds in _TYPES.items() if isinstance(value, kinds))
    return next(found, "null")


def _fits(schema: Schema, value: Any) -> bool:
    if value is None:
        return bool(schema.get("nullable")) or "type" not in schema
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    kind = schema.get("type")
    if kind not in _TYPES:
        return True
    if isinstance(value, bool):
        return bool(kind == "boolean")
    return isinstance(value, _TYPES[str(kind)])


def _judge(schema: Schema, value: Any, path: str) -> list[FieldError]:
    if not _fits(schema, value):
        found = _type_name(value)
        return [invalid(path, found, f'{path} in body must be of type {schema["type"]}: "{found}"')]
    wrong = []
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(not_supported(path, value, schema["enum"]))
    if isinstance(value, dict):
        wrong += _judge_object(schema, value, path)
    elif isinstance(value, list):
        wrong += _judge_size(schema, value, path, "Items", "items")
        inner = schema.get("items") or {}
        for index, item in enumerate(value):
            wrong += _judge(inner, item, f"{path}[{index}]")
    elif isinstance(value, str):
        wrong += _judge_size(schema, value, path, "Length", "chars long")
        wrong += _judge_pattern(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        wrong += _judge_number(schema, value, path)
    return wrong


def _judge_object(schema: Schema, value: dict[str, Any], path: str) -> list[FieldError]:
    dot = f"{path}." if path else ""
    wrong = [
        required(dot + name)
        for name in schema.get("required") or ()
        if name not in value and name not in _OWN
    ]
    for name, item in value.items():
        inner = _child(schema, name)
        if inner is not None:
            wrong += _judge(inner, item, dot + name)
    return wrong


def _judge_size(schema: Schema, value: Any, path: str, what: str, words: str) -> list[FieldError]:
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    if isinstance(least, int) and len(value) < least:
        return [invalid(path, value, f"{path} in body should be at least {least} {words}")]
    if isinstance(most, int) and len(value) > most:
        return [invalid(path, value, f"{path} in body should be at most {most} {words}")]
    return []


def _judge_pattern(schema: Schema, value: str, path: str) -> list[FieldError]:
    pattern = schema.get("pattern")
    if not isinstance(pattern, str):
        return []
    try:
        fits = re.search(pattern, value) is not None
    except re.error:
        return []  # Go's syntax that Python does not know: nothing can be said
    return [] if fits else [invalid(path, value, f"{path} in body should match '{pattern}'")]


def _judge_number(schema: Schema, value: float, path: str) -> list[FieldError]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and value < least:
        return [invalid(path, value, f"{path} in body should be greater than or equal to {least}")]
    if most is not None and value > most:
        return [invalid(path, value, f"{path} in body should be less than or equal to {most}")]
    return []
