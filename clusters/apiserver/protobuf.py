"""Objects in Kubernetes' protobuf, read to the same values JSON gives. Pure and total.

``kubectl create`` and Go's typed clients send their objects so, and do not try JSON when they are refused.
Envelope: ``k8s\\0`` and a ``runtime.Unknown``; field numbers stand in ``schemas.json``. Answers are never in
protobuf: every such client takes JSON, too. Fields that Go writes though they are empty are left out again.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from clusters.apiserver import schemas
from clusters.apiserver.schemas import Field
from clusters.apiserver.status import Refused, bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DEEPEST = 64
_SIGNED = {"int32": 32, "int64": 64}
_EMPTY: tuple[Any, ...] = ("", 0, False, None, [], {})

Value = int | bytes


def _malformed(why: str) -> Refused:
    return bad_request(f"the object provided is unrecognized: the body is not Kubernetes protobuf: {why}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise _malformed("a number does not end")


def _parts(data: bytes) -> Iterator[tuple[int, Value]]:
    """(field number, value) of a message: whole numbers, or bytes for everything else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise _malformed(f"wire type {wire} is not used there")
        if at + size > len(data):
            raise _malformed("it ends within a field")
        yield tag >> 3, data[at : at + size]
        at += size


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise _malformed("a number stands where bytes were expected")
    return value


def _text(value: Value) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise _malformed("a text is not UTF-8") from None


def _first(data: Value, number: int, default: Value) -> Value:
    """The last value of one field of a small message, as protobuf has it."""
    found = default
    for at, value in _parts(_bytes(data)):
        if at == number:
            found = value
    return found


def decode(data: bytes) -> dict[str, Any]:
    """The object of a request's body, as JSON would have it. Refused: 400 malformed, 415 an unknown kind."""
    if not data.startswith(_MAGIC):
        raise _malformed("it does not begin with k8s and a zero byte")
    envelope = dict(_parts(data[len(_MAGIC) :]))
    kinds = dict(_parts(_bytes(envelope.get(1, b""))))
    version, kind = _text(kinds.get(1, b"")), _text(kinds.get(2, b""))
    name = _type_of(version, kind)
    if not schemas.is_type(name):
        raise Refused(
            415,
            "UnsupportedMediaType",
            f"{kind} in version {version!r} is not read in protobuf here: send it as application/json",
        )
    return {"apiVersion": version, "kind": kind, **_message(_bytes(envelope.get(2, b"")), name, 0)}


def _type_of(version: str, kind: str) -> str:
    group, _, plain = version.rpartition("/")
    if kind == "DeleteOptions":
        return "meta.v1.DeleteOptions"
    return schemas.type_name(group, plain, kind)


def _message(data: bytes, kind: str, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise _malformed("it is nested too deeply")
    known, result = schemas.message(kind), {}
    for number, value in _parts(data):
        field = known.get(number)
        if field is None:
            continue  # a field newer than this server: dropped, as unknown fields are
        if field.name.startswith("+"):
            result.update(_message(_bytes(value), field.type, depth + 1))
        elif field.is_map:
            key, item = _entry(value, field, depth)
            result.setdefault(field.name, {})[key] = item
        elif field.is_list:
            result.setdefault(field.name, []).extend(_items(value, field, depth))
        else:
            found = _value(value, field.type, depth)
            if field.is_optional or found not in _EMPTY:
                result[field.name] = found
    return result


def _entry(value: Value, field: Field, depth: int) -> tuple[str, Any]:
    pair = dict(_parts(_bytes(value)))
    kind = field.type.removeprefix("{}")
    if kind.startswith("[!]"):
        items = [_value(item, field.item, depth) for at, item in _parts(_bytes(pair.get(2, b""))) if at == 1]
        return _text(pair.get(1, b"")), items
    empty: Value = 0 if kind in {*_SIGNED, "bool"} else b""
    return _text(pair.get(1, b"")), _value(pair.get(2, empty), kind, depth)


def _items(value: Value, field: Field, depth: int) -> list[Any]:
    if field.type.startswith("[!]"):
        return [_value(item, field.item, depth) for at, item in _parts(_bytes(value)) if at == 1]
    if field.item in {*_SIGNED, "bool"} and isinstance(value, bytes):  # packed
        found, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(_value(number, field.item, depth))
        return found
    return [_value(value, field.item, depth)]


def _value(value: Value, kind: str, depth: int) -> Any:
    if schemas.is_type(kind):
        return _message(_bytes(value), kind, depth + 1)
    if kind in _SIGNED or kind == "bool":
        if not isinstance(value, int):
            raise _malformed("bytes stand where a number was expected")
        if kind == "bool":
            return bool(value)
        return value - (1 << 64) if value >> 63 else value
    if kind == "string":
        return _text(value)
    if kind == "bytes":
        return base64.b64encode(_bytes(value)).decode()
    return _special(_bytes(value), kind)


def _special(data: bytes, kind: str) -> Any:
    """The types that JSON writes in a way of their own."""
    if kind in {"time", "microtime"}:
        return _moment(data, micro=kind == "microtime")
    if kind == "quantity":
        return _text(_first(data, 1, b""))
    if kind == "intOrString":
        return _text(_first(data, 3, b"")) if _first(data, 1, 0) else _value(_first(data, 2, 0), "int32", 0)
    if kind == "duration":
        return f"{_value(_first(data, 1, 0), 'int64', 0) / 1e9:g}s"
    if kind == "double":
        return struct.unpack("<d", data[:8].ljust(8, b"\0"))[0]
    return _embedded(data)


def _embedded(data: bytes) -> Any:
    raw = _bytes(_first(data, 1, b""))  # raw, json, fields: JSON within
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise _malformed("an embedded object is not JSON") from None


def _moment(data: bytes, *, micro: bool) -> str | None:
    seconds, nanos = _value(_first(data, 1, 0), "int64", 0), _value(_first(data, 2, 0), "int32", 0)
    if not data or not (seconds or nanos):
        return None
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise _malformed("a time is out of range") from None
    text = at.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos // 1000:06d}Z" if micro else f"{text}Z"
