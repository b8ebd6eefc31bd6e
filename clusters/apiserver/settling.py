"""What is settled about an object around the rules of its kind: names, namespace, identity. Pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import msgspec

from clusters.apiserver.builtin import builtin
from clusters.apiserver.metadata import generated_name
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import (
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_object,
    not_found,
    stale,
)
from clusters.apiserver.store import Entry, Key, Object, Store

_NAMESPACES = builtin("", "v1", "namespaces")
_ATTEMPTS = 8  # at a free generated name, as many as Kubernetes makes


def timestamp(seconds: float) -> str:
    """A time as objects carry it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def settle_namespace(resource: Resource, namespace: str, metadata: Object) -> None:
    """Sets, in place, the namespace of the request. Refused 400 when the object names another."""
    if not resource.namespaced:
        metadata.pop("namespace", None)
    elif metadata.setdefault("namespace", namespace) != namespace:
        if metadata["namespace"]:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = namespace


def settle_name(
    store: Store, resource: Resource, namespace: str, metadata: Object, rng: random.Random
) -> None:
    """Sets, in place, a free name from ``generateName`` where there is none."""
    base = metadata.get("generateName")
    if metadata.get("name") or not base:
        return
    for _ in range(_ATTEMPTS):
        metadata["name"] = generated_name(base, rng)
        if store.get(resource, (namespace, metadata["name"])) is None:
            return


def check_namespace(store: Store, resource: Resource, namespace: str, name: str) -> None:
    """Refused 404 when the namespace is not there, 403 when it is ending."""
    if not resource.namespaced:
        return
    home = store.get(_NAMESPACES, ("", namespace))
    if home is None:
        raise not_found(_NAMESPACES, namespace)
    if "deletionTimestamp" not in home.object["metadata"]:
        return
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    raise forbidden(resource, name, why, [cause])


def check_identity(resource: Resource, key: Key, metadata: Object, entry: Entry) -> None:
    """Refused 409 when an update means another object or an older version of it, 422 without a needed one."""
    uid, version = metadata.get("uid", ""), metadata.get("resourceVersion", "")
    have = entry.object["metadata"]["uid"]
    if uid and uid != have:
        raise conflict(
            resource,
            key[1],
            "StorageError: invalid object, Code: 4, Key: "
            f"/registry/{resource.plural}/{'/'.join(filter(None, key))}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: "
            f"{have}",
        )
    if version and version != "0":
        if version != str(entry.version):
            raise stale(resource, key[1])
    elif resource.needs_version:
        raise invalid_object(
            resource, key[1], [invalid("metadata.resourceVersion", 0, "must be specified for an update")]
        )


def fields_of(obj: Object) -> Object:
    """The object without kind and apiVersion, to be compared."""
    return {name: value for name, value in obj.items() if name not in {"kind", "apiVersion"}}


def thaw(resource: Resource, entry: Entry) -> Object:
    """A copy of a stored object that may be changed."""
    fields: Object = msgspec.json.decode(entry.body)
    return {"kind": resource.kind, "apiVersion": resource.api_version, **fields}


def is_released(new: Object, old: Object) -> bool:
    """True when an object waiting for deletion lost its last finalizer."""
    metadata = old["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not new["metadata"].get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
    )
