"""Service + Pods → the legacy Endpoints object of the same name. Pure.

Only the Service's first family, at most 1,000 addresses: what is left of the old API's contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clusters.controllers.endpointslices import HEADLESS_LABEL, desired, families
from clusters.controllers.pods import is_terminating

Object = dict[str, Any]

MANAGED_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
MOST = 1000
_OVER = "endpoints.kubernetes.io/over-capacity"


def endpoints_for(service: Object, pods: Sequence[Object], nodes: Mapping[str, Object]) -> Object:
    """The Endpoints object a Service with a selector must have, without resourceVersion and uid."""
    meta = service["metadata"]
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    counted = [pod for pod in pods if publish or not is_terminating(pod)]
    labels = dict(meta.get("labels") or {}) | {MANAGED_LABEL: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    found: Object = {
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "labels": labels},
    }
    room, subsets = MOST, []
    groups = desired(service, counted, nodes, families(service)[0])
    for ports, endpoints in groups:
        subset, room = _subset(ports, endpoints, room)
        if len(subset) > 1:
            subsets.append(subset)
    if subsets:
        found["subsets"] = subsets
    if sum(len(endpoints) for _, endpoints in groups) > MOST:
        found["metadata"]["annotations"] = {_OVER: "truncated"}
    return found


def _subset(ports: list[Object], endpoints: list[Object], room: int) -> tuple[Object, int]:
    """One subset of at most ``room`` addresses, ready ones first, and the room that is left."""
    ordered = sorted(endpoints, key=lambda e: (not e["conditions"]["ready"], e["addresses"][0]))[:room]
    subset: Object = {}
    for name, ready in (("addresses", True), ("notReadyAddresses", False)):
        rows = [_address(e) for e in ordered if e["conditions"]["ready"] is ready]
        if rows:
            subset[name] = rows
    subset["ports"] = [{k: v for k, v in port.items() if v != ""} for port in ports]
    return subset, room - len(ordered)


def _address(endpoint: Object) -> Object:
    row = {"ip": endpoint["addresses"][0], "targetRef": endpoint["targetRef"]}
    return row | {name: endpoint[name] for name in ("nodeName", "hostname") if name in endpoint}


def needs_write(held: Object | None, wanted: Object) -> bool:
    """Whether the stored Endpoints differ from what they must be."""
    if held is None:
        return True
    meta, want = held["metadata"], wanted["metadata"]
    return bool(
        (held.get("subsets") or []) != (wanted.get("subsets") or [])
        or (meta.get("labels") or {}) != want["labels"]
        or (meta.get("annotations") or {}).get(_OVER) != want.get("annotations", {}).get(_OVER))
