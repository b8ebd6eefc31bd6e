"""Refusals in Kubernetes' words: every error this server answers is one of these ``Status`` bodies.

The words are those of ``k8s.io/apimachinery/pkg/api/errors`` and ``.../util/validation/field``; clients and
people compare them, so they are kept to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.apiserver.resources import Resource

_TEXT = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
}
_WITHOUT_VALUE = {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong"}


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field; ``reason`` is Kubernetes' cause type."""

    reason: str
    field: str
    value: Any
    detail: str

    @property
    def body(self) -> str:
        """The words after the field's name: ``Invalid value: 29999: provided port is …``."""
        text = _TEXT[self.reason]
        if self.reason not in _WITHOUT_VALUE:
            shown = json.dumps(self.value, separators=(",", ":"), ensure_ascii=False)
            text = f"{text}: {shown}"
        return f"{text}: {self.detail}" if self.detail else text


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value is malformed or not allowed here."""
    return FieldError("FieldValueInvalid", field, value, detail)


def required(field: str, detail: str = "") -> FieldError:
    """The field is missing or empty."""
    return FieldError("FieldValueRequired", field, "", detail)


def duplicate(field: str, value: Any) -> FieldError:
    """The value must be unique and is not."""
    return FieldError("FieldValueDuplicate", field, value, "")


def forbidden_field(field: str, detail: str) -> FieldError:
    """The field may not be set under the present conditions."""
    return FieldError("FieldValueForbidden", field, "", detail)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """The value is none of a closed list."""
    quoted = ", ".join(json.dumps(item) for item in supported)
    return FieldError("FieldValueNotSupported", field, value, f"supported values: {quoted}")


def too_long(field: str, limit: int) -> FieldError:
    """The text has more than ``limit`` bytes."""
    return FieldError("FieldValueTooLong", field, "", f"may not be more than {limit} bytes")


class Refused(Exception):
    """A request is refused: HTTP code, machine-readable reason, words, and details for programs."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> dict[str, Any]:
        """The ``Status`` object to answer with."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _details(resource: Resource, name: str) -> dict[str, Any]:
    details = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return {**details, "kind": resource.plural}


def not_found(resource: Resource, name: str) -> Refused:
    """404: no such object."""
    return Refused(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def path_not_found() -> Refused:
    """404: no such path; the words of the server's last resort."""
    return Refused(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str) -> Refused:
    """409: create over an existing object."""
    message = f'{resource.qualified} "{name}" already exists'
    return Refused(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> Refused:
    """409: the object is not what the request supposes."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Refused(409, "Conflict", message, _details(resource, name))


def stale(resource: Resource, name: str) -> Refused:
    """409: the resourceVersion sent is not the present one."""
    return conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[dict[str, str]] = ()) -> Refused:
    """403: understood, and not allowed."""
    details = _details(resource, name)
    if causes:
        details["causes"] = list(causes)
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return Refused(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def bad_request(message: str) -> Refused:
    """400: the request itself makes no sense."""
    return Refused(400, "BadRequest", message)


def internal(message: str) -> Refused:
    """500: allocation and storage errors that Kubernetes reports as internal."""
    return Refused(
        500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]}
    )


def expired(message: str) -> Refused:
    """410: the history asked for is no longer kept."""
    return Refused(410, "Expired", message)


def unauthorized() -> Refused:
    """401: no token, or one nobody gave out."""
    return Refused(401, "Unauthorized", "Unauthorized")


def unsupported_media(accepted: Sequence[str]) -> Refused:
    """415: the body is in a form this server does not read."""
    return Refused(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted "
        f"media types include: {', '.join(accepted)}",
    )


def method_not_allowed(resource: Resource, action: str) -> Refused:
    """405: the resource has no such verb."""
    details = _details(resource, "")
    message = f'{action} is not supported on resources of kind "{resource.qualified}"'
    return Refused(405, "MethodNotAllowed", message, details)


def invalid_object(resource: Resource, name: str, errors: Sequence[FieldError]) -> Refused:
    """422: the object breaks its kind's rules; all of them are listed, equal ones once in the message."""
    lines = list(dict.fromkeys(f"{error.field}: {error.body}" for error in errors))
    listed = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    details: dict[str, Any] = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.kind
    details["causes"] = [{"reason": e.reason, "message": e.body, "field": e.field} for e in errors]
    message = f'{resource.qualified_kind} "{name}" is invalid: {listed}'
    return Refused(422, "Invalid", message, details)
