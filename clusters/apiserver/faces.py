"""Two faces of one Event: ``events.k8s.io/v1`` is another view of what ``v1`` holds. Pure.

Field names of the two: ``pkg/apis/events/v1/conversion.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from typing import Any

import msgspec

from clusters.apiserver.resources import Resource
from clusters.apiserver.status import bad_request
from clusters.apiserver.store import encode_body

_NEW_TO_CORE = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_CORE_TO_NEW = {core: new for new, core in _NEW_TO_CORE.items()}


def _renamed(fields: dict[str, Any], table: dict[str, str]) -> dict[str, Any]:
    return {table.get(name, name): value for name, value in fields.items()}


def to_home(resource: Resource, home: Resource, value: Any) -> Any:
    """A request's object, in the form of the kind that holds it. Refused 400 for another version."""
    if resource is home or not isinstance(value, dict):
        return value
    version = value.get("apiVersion", resource.api_version)
    if version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    return _renamed({**value, "apiVersion": home.api_version}, _NEW_TO_CORE)


def body_from_home(body: bytes) -> bytes:
    """A stored Event's body (see ``store.Entry``) with the field names of ``events.k8s.io``."""
    return encode_body(_renamed(msgspec.json.decode(body), _CORE_TO_NEW))
