"""The revisions of a DaemonSet's or StatefulSet's pod template, as ControllerRevisions. Pure.

Rules: ``pkg/controller/history`` of Kubernetes 1.36: a template seen before is numbered anew.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.controllers.claims import owner_reference
from clusters.controllers.deployments import template_hash

Object = dict[str, Any]
HASH_LABEL = "controller-revision-hash"  # on pods: which revision they are of
_DATA_HASH = "controller.kubernetes.io/hash"


@dataclass(frozen=True)
class Plan:
    """What the revisions of one owner need now."""

    update: Object | None = None  # the revision of the present template; None: ``create`` makes it
    create: Object | None = None
    renumber: int | None = None  # the number ``update`` must get
    delete: list[Object] = field(default_factory=list)


def data_of(owner: Object) -> Object:
    """What a revision keeps: a patch that puts the owner's template back."""
    return {"spec": {"template": copy.deepcopy(owner["spec"]["template"]) | {"$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    """The pod template a revision keeps."""
    template: Object = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


def mark_of(owner: Object, revision: Object) -> str:
    """What the pods of a revision carry as ``controller-revision-hash``: a DaemonSet's its hash alone."""
    if owner["kind"] == "DaemonSet":
        return str(revision["metadata"]["labels"][HASH_LABEL])
    return str(revision["metadata"]["name"])


def plan(owner: Object, revisions: Sequence[Object], marks: Collection[str | None]) -> Plan:
    """Decide for one owner; ``revisions`` are its own, ``marks`` those of its pods and of its status."""
    ordered = sorted(revisions, key=lambda r: (r["revision"], r["metadata"]["name"]))
    data, last = data_of(owner), ordered[-1]["revision"] if ordered else 0
    same = [found for found in ordered if found["data"] == data]
    if not same:
        return Plan(create=_made(owner, data, last + 1))
    update = same[-1]
    live = {update["metadata"]["name"]}
    live |= {r["metadata"]["name"] for r in ordered if mark_of(owner, r) in marks}
    dead = [found for found in ordered if found["metadata"]["name"] not in live]
    limit = int(owner["spec"].get("revisionHistoryLimit", 10))
    return Plan(update, renumber=last + 1 if update["revision"] < last else None,
                delete=dead[:max(0, len(dead) - limit)])


def _made(owner: Object, data: Object, number: int) -> Object:
    meta = owner["metadata"]
    mark = template_hash(data, (owner.get("status") or {}).get("collisionCount") or 0)
    daemon = owner["kind"] == "DaemonSet"
    labels = dict((owner["spec"]["template"].get("metadata") or {}).get("labels") or {})
    return {
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": f"{meta['name']}-{mark}", "namespace": meta["namespace"],
            "labels": labels | {HASH_LABEL if daemon else _DATA_HASH: mark},
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "data": data, "revision": number,
    }
