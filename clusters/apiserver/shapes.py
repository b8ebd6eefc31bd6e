"""From bytes to an object of the right shape, or ``Refused`` 400: after this every field has its type.

``shapes.json`` holds the fields of each kind (API reference 1.36). A ``"*"`` entry leaves a place open:
fields not listed there are kept as they came. Elsewhere unknown fields are dropped, as Kubernetes drops
them, and named to the caller, who refuses or warns as the request's ``fieldValidation`` says.
"""

from __future__ import annotations

from importlib import resources as files
from typing import Any

import msgspec

from clusters.apiserver.resources import Resource
from clusters.apiserver.status import Refused, bad_request

_SHAPES: dict[str, Any] = msgspec.json.decode(files.files(__package__).joinpath("shapes.json").read_bytes())
_LIMITS = {"int32": 2**31, "int64": 2**63}
_ZERO = {"string": "", "bool": False, "int32": 0, "int64": 0, "intOrString": 0}
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

    def shape(self, value: Any, shape: Any, path: str) -> Any:
        while isinstance(shape, str) and shape.startswith("$"):
            shape = _SHAPES[shape[1:]]
        if isinstance(shape, dict):
            return self.object(value, shape, path)
        if isinstance(shape, list):
            return self.list(value, shape[0], path)
        if shape == "any":
            return value
        if shape == "map":
            return self.map(value, path)
        return self.scalar(value, shape, path)

    def object(self, value: Any, shape: dict[str, Any], path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.refuse(value, path, "object")
        result: dict[str, Any] = {}
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            if name in shape:
                if item is not None:  # null and absent are one thing to Kubernetes
                    result[name] = self.shape(item, shape[name], inner)
            elif "*" in shape:
                if item is not None:
                    result[name] = item
            else:
                self.unknown.append(inner)
        return result

    def list(self, value: Any, shape: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.refuse(value, path, "array")
        zero = _ZERO.get(shape, {}) if isinstance(shape, str) else {}
        return [
            self.shape(zero if item is None else item, shape, f"{path}[{i}]") for i, item in enumerate(value)
        ]

    def map(self, value: Any, path: str) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self.refuse(value, path, "map[string]string")
        for item in value.values():
            if item is not None and not isinstance(item, str):
                raise self.refuse(item, path, "string")
        return {name: item or "" for name, item in value.items()}

    def scalar(self, value: Any, kind: str, path: str) -> Any:
        if kind == "string" and isinstance(value, str):
            return value
        if kind == "bool" and isinstance(value, bool):
            return value
        if kind == "intOrString" and isinstance(value, str):
            return value
        limit = _LIMITS.get("int32" if kind == "intOrString" else kind)
        if limit and isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit:
            return value
        raise self.refuse(value, path, kind)


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
    result = shaper.object(fields, _SHAPES[resource.kind], "")
    metadata = result.pop("metadata", {})
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": metadata,
        **result,
    }, shaper.unknown
