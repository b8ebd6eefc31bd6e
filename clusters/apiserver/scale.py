"""The ``/scale`` view of a workload: how many replicas are wanted and how many there are. Pure."""

from __future__ import annotations

from typing import Any

from clusters.apiserver.patch import JSON_PATCH, PATCHES, json_patch, merge
from clusters.apiserver.resources import Resource
from clusters.apiserver.settling import thaw
from clusters.apiserver.status import bad_request, conflict, unsupported_media
from clusters.apiserver.store import Entry


def scale_of(obj: dict[str, Any]) -> dict[str, Any]:
    """The ``autoscaling/v1`` Scale of a Deployment or ReplicaSet."""
    metadata, labels = obj["metadata"], obj["spec"].get("selector", {}).get("matchLabels") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def with_replicas(resource: Resource, entry: Entry, value: Any, patch_type: str) -> dict[str, Any]:
    """A copy of the workload with the replicas a Scale, or a patch of one, asks for. Refused: 400, 409,
    415.
    """
    if patch_type and patch_type not in PATCHES:
        raise unsupported_media(PATCHES)
    if patch_type:
        scale = scale_of(entry.object)
        value = json_patch(scale, value) if patch_type == JSON_PATCH else merge(scale, value)
    spec = value.get("spec", {}) if isinstance(value, dict) else None
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("a Scale must say in spec.replicas how many replicas are wanted, as a whole number")
    metadata = value.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    changed = thaw(resource, entry)
    if version and version != str(entry.version):
        raise conflict(
            resource,
            changed["metadata"]["name"],
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    changed["spec"]["replicas"] = replicas
    return changed
