"""Metadata: what the server sets on it, what a caller may not change, what it must look like. Pure.

Rules: ``ValidateObjectMeta`` and ``rest.BeforeCreate``/``BeforeUpdate`` of Kubernetes 1.36.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from clusters.apiserver import names
from clusters.apiserver.resources import Resource
from clusters.apiserver.status import FieldError, invalid, required

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: generated names spell nothing
_SUFFIX, _LONGEST = 5, 63
_ANNOTATIONS_LIMIT = 256 * 1024  # bytes

_NAME_RULES: dict[str, Callable[[str], list[str]]] = {
    "services": names.dns_label,
    "namespaces": names.dns_label,
    "events": names.path_segment,
    **dict.fromkeys(("roles", "rolebindings", "clusterroles", "clusterrolebindings"), names.path_segment),
    "ipaddresses": names.ip_address,
}


def generated_name(base: str, rng: random.Random) -> str:
    """``generateName`` and five random signs, cut so that the name fits a label."""
    return base[: _LONGEST - _SUFFIX] + "".join(rng.choice(_ALPHABET) for _ in range(_SUFFIX))


def label_errors(labels: dict[str, str], path: str) -> list[FieldError]:
    """What is wrong with a map of labels at ``path``."""
    wrong = []
    for key, value in labels.items():
        wrong += [invalid(path, key, message) for message in names.qualified_name(key)]
        wrong += [invalid(path, value, message) for message in names.label_value(value)]
    return wrong


def metadata_errors(resource: Resource, metadata: dict[str, Any]) -> list[FieldError]:
    """What is wrong with an object's metadata, its name by the rule of its kind first."""
    wrong: list[FieldError] = []
    own = "" if resource.custom else resource.plural
    rule = _NAME_RULES.get(own, names.dns_subdomain)
    if prefix := metadata.get("generateName", ""):
        wrong += [
            invalid("metadata.generateName", prefix, message) for message in rule(_without_dash(prefix))
        ]
    name = metadata.get("name", "")
    if not name:
        wrong.append(required("metadata.name", "name or generateName is required"))
    else:
        wrong += [invalid("metadata.name", name, message) for message in rule(name)]
    wrong += label_errors(metadata.get("labels") or {}, "metadata.labels")
    wrong += _annotation_errors(metadata.get("annotations") or {})
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        wrong += [
            invalid(f"metadata.finalizers[{index}]", finalizer, message)
            for message in names.qualified_name(finalizer)
        ]
    return wrong + _owner_errors(metadata.get("ownerReferences") or [])


def _without_dash(prefix: str) -> str:
    """A prefix may end in dashes, since signs follow."""
    return prefix[:-1] + "a" if prefix.endswith("-") and len(prefix) > 1 else prefix


def _annotation_errors(annotations: dict[str, str]) -> list[FieldError]:
    wrong = [
        invalid("metadata.annotations", key, message)
        for key in annotations
        for message in names.qualified_name(key.lower())
    ]
    size = sum(
        len(key.encode()) + len(value.encode("utf-8", "surrogatepass")) for key, value in annotations.items()
    )
    if size > _ANNOTATIONS_LIMIT:
        wrong.append(
            FieldError(
                "FieldValueTooLong",
                "metadata.annotations",
                "",
                f"may not be more than {_ANNOTATIONS_LIMIT} bytes",
            )
        )
    return wrong


def _owner_errors(owners: list[dict[str, Any]]) -> list[FieldError]:
    wrong = []
    for index, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                wrong.append(invalid(f"metadata.ownerReferences[{index}].{field}", "", "must not be empty"))
    if sum(bool(owner.get("controller")) for owner in owners) > 1:
        wrong.append(
            invalid("metadata.ownerReferences", owners, "Only one reference can have Controller set to true")
        )
    return wrong


def keep_server_fields(new: dict[str, Any], old: dict[str, Any]) -> None:
    """Restores what only the server writes, where the caller left it out or may not touch it."""
    for field in ("creationTimestamp", "uid", "name", "namespace"):
        new.setdefault(field, old.get(field, ""))
    for field in ("generation", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName"):
        new.pop(field, None)
        if field in old:
            new[field] = old[field]
    for field in ("managedFields", "selfLink"):
        new.pop(field, None)


def metadata_update_errors(new: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
    """What an update may not change in the metadata."""
    wrong = [
        invalid(f"metadata.{field}", new.get(field, ""), "field is immutable")
        for field in ("name", "namespace", "uid", "creationTimestamp")
        if new.get(field, "") != old.get(field, "")
    ]
    if "deletionTimestamp" in old:
        added = [name for name in new.get("finalizers") or () if name not in (old.get("finalizers") or ())]
        if added:
            wrong.append(
                FieldError(
                    "FieldValueForbidden",
                    "metadata.finalizers",
                    "",
                    "no new finalizers can be added if the object is being deleted, found new "
                    f"finalizers []string{{{', '.join(chr(34) + name + chr(34) for name in added)}}}",
                )
            )
    return wrong
