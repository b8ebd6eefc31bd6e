"""Two faces of one object: ``events.k8s.io/v1`` is another view of what ``v1`` holds. Pure.

So is ``autoscaling/v1``. The versions of a custom resource are faces that differ in nothing but their name.

Field names of the two: ``pkg/apis/events/v1/conversion.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from typing import Any

import msgspec

from clusters.apiserver import autoscaler_faces
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
    moved = {**value, "apiVersion": home.api_version}
    if resource.group == "autoscaling":
        return autoscaler_faces.to_v2(moved)
    return moved if resource.custom else _renamed(moved, _NEW_TO_CORE)


def body_from_home(resource: Resource, body: bytes) -> bytes:
    """A stored body (see ``store.Entry``) with the field names of a kind that is another view of it."""
    if resource.custom:
        return body
    fields = msgspec.json.decode(body)
    if resource.group == "autoscaling":
        return encode_body(autoscaler_faces.to_v1(fields))
    return encode_body(_renamed(fields, _CORE_TO_NEW))
