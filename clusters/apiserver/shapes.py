"""From bytes to an object of the right shape, or ``Refused`` 400: after this every field has its type.

The fields of each kind stand in ``schemas.json``. Unknown fields are dropped, as Kubernetes drops them, and
named to the caller, who refuses or warns as the request's ``fieldValidation`` says.
"""

from __future__ import annotations

from typing import Any

import msgspec

from clusters.apiserver import schemas
from clusters.apiserver.custom import pruned
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import Refused, bad_request

_LIMITS = {"int32": 2**31, "int64": 2**63}
_ZERO: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "intOrString": 0}
_TEXTS = {"string", "time", "microtime", "duration", "bytes", "intOrString", "quantity"}
_OPEN = {"raw", "json", "fields"}
_decoder = msgspec.json.Decoder()


def parse_json(data: bytes) -> Any:
    """Any JSON value. Refused 400 with the parser's words for anything that is not JSON."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise bad_request(f"the object provided is unrecognized: the body is not JSON: {error}") from None


class _Shaper:
    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.unknown: list[str] = []

    def refuse(self, value: Any, path: str, kind: str) -> Refused:
        names = {str: "string", bool: "bool", dict: "object", list: "array", int: "number", float: "number"}
        shown = names.get(type(value), "null")
        if shown == "number":
            shown = f"number {value}" if kind in _LIMITS else "number"
        if shown in {"bool", "string"} and kind in _LIMITS and isinstance(value, str):
            shown = "string"
        return bad_request(
            f'{self.resource.kind} in version "{self.resource.version}" cannot be handled as a '
            f"{self.resource.kind}: json: cannot unmarshal {shown} into Go struct field "
            f"{self.resource.kind}.{path} of type {kind}"
        )

    def shape(self, value: Any, kind: str, path: str) -> Any:
        if kind in _OPEN:
            return value
        if kind.startswith("["):
            return self.list(value, kind.partition("]")[2], path)
        if kind.startswith("{"):
            return self.map(value, kind[2:], path)
        if schemas.is_type(kind):
            return self.object(value, kind, path)
        return self.scalar(value, kind, path)

    def object(self, value: Any, kind: str, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.refuse(value, path, "object")
        known = schemas.fields(kind)
        result: dict[str, Any] = {}
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            if name not in known:
                self.unknown.append(inner)
            elif item is not None:  # null and absent are one thing to Kubernetes
                result[name] = self.shape(item, known[name].type, inner)
        return result

    def list(self, value: Any, kind: str, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.refuse(value, path, "array")
        zero = _ZERO.get(kind, {})
        return [
            self.shape(zero if item is None else item, kind, f"{path}[{i}]") for i, item in enumerate(value)
        ]

    def map(self, value: Any, kind: str, path: str) -> dict[str, Any]:
        told = "string" if kind in _TEXTS else kind
        if not isinstance(value, dict):
            raise self.refuse(value, path, f"map[string]{told}")
        if kind != "string":
            zero = _ZERO.get(kind, "" if kind in _TEXTS else {})
            return {
                name: self.shape(zero if item is None else item, kind, f"{path}.{name}")
                for name, item in value.items()
            }
        for item in value.values():
            if item is not None and not isinstance(item, str):
                raise self.refuse(item, path, "string")
        return {name: item or "" for name, item in value.items()}

    def scalar(self, value: Any, kind: str, path: str) -> Any:
        if isinstance(value, str) and kind in _TEXTS:
            return value
        if isinstance(value, bool):
            if kind == "bool":
                return value
        elif isinstance(value, int | float) and kind in {"quantity", "double"}:
            return str(value) if kind == "quantity" else value
        elif isinstance(value, int):
            limit = _LIMITS.get("int32" if kind == "intOrString" else kind)
            if limit and -limit <= value < limit:
                return value
        raise self.refuse(value, path, "string" if kind in _TEXTS - {"intOrString"} else kind)


def shaped(resource: Resource, value: Any) -> tuple[dict[str, Any], list[str]]:
    """The object with known fields of known types, and the paths of the fields that were dropped.

    Refused 400 when it is no object, of another kind or version, or a field has another type.
    """
    if not isinstance(value, dict):
        raise bad_request(
            "the object provided is unrecognized (must be of type Object): "
            "couldn't get version/kind; json parse error: an object was expected"
        )
    version, kind = value.get("apiVersion", resource.api_version), value.get("kind", resource.kind)
    if version != resource.api_version or kind != resource.kind:
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {resource.kind}: the API version '
            f"in the data ({version}, Kind={kind}) does not match the expected API version "
            f"({resource.api_version}, Kind={resource.kind})"
        )
    fields = {name: item for name, item in value.items() if name not in {"kind", "apiVersion"}}
    shaper = _Shaper(resource)
    if resource.custom is not None:
        result, shaper.unknown = pruned(resource.custom.schema, fields)
        metadata = shaper.object(fields.get("metadata") or {}, "meta.v1.ObjectMeta", "metadata")
    else:
        result = shaper.object(fields, resource.type, "")
        metadata = result.pop("metadata", {})
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": metadata,
        **result,
    }, shaper.unknown
