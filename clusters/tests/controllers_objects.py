"""Small builders of stored objects for the controllers' tests."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def pod(name: str = "p", *, ip: str | None = "10.42.0.2", ready: bool = True, **more: Any) -> Object:
    """A running pod labelled app=web; ``more``: node, labels, owner, phase, deleted, ports, spec, times."""
    status: Object = {
        "phase": more.get("phase", "Running"),
        "conditions": [
            {
                "type": "Ready",
                "status": "True" if ready else "False",
                "lastTransitionTime": more.get("ready_at", "2026-01-01T00:00:00Z"),
            }
        ],
    }
    ips = [ip] if isinstance(ip, str) else list(ip or ())
    if ips:
        status |= {"podIP": ips[0], "podIPs": [{"ip": one} for one in ips]}
    meta: Object = {
        "name": name,
        "namespace": more.get("namespace", "default"),
        "uid": more.get("uid", f"uid-{name}"),
        "labels": more.get("labels", {"app": "web"}),
        "creationTimestamp": more.get("created", "2026-01-01T00:00:00Z"),
        "resourceVersion": "1",
    }
    if "owner" in more:
        meta["ownerReferences"] = [
            {"uid": more["owner"], "kind": "ReplicaSet", "name": "rs", "controller": True}
        ]
    if more.get("deleted"):
        meta["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    spec: Object = {"containers": [{"name": "c", "ports": more.get("ports", [])}]} | more.get("spec", {})
    if more.get("node", "n0"):
        spec["nodeName"] = more.get("node", "n0")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def node(name: str = "n0", *, ready: bool = True, labels: Object | None = None, **spec: Any) -> Object:
    """A node, ready by default."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "spec": spec,
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"kubernetes.io/hostname": name} | (labels or {}),
        },
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def service(name: str = "web", **spec: Any) -> Object:
    """A Service that selects app=web, port 80; ``spec`` adds and replaces fields."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.43.0.7",
            "clusterIPs": ["10.43.0.7"],
            "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
        }
        | spec,
    }


def replicaset(name: str = "rs", replicas: int = 2, **more: Any) -> Object:
    """A ReplicaSet of app=web; ``more``: uid, owner, template, status, created, annotations, min_ready."""
    meta: Object = {
        "name": name,
        "namespace": "default",
        "uid": more.get("uid", f"uid-{name}"),
        "generation": 1,
        "creationTimestamp": more.get("created", "2026-01-01T00:00:00Z"),
        "resourceVersion": "1",
        "annotations": more.get("annotations", {}),
    }
    if "owner" in more:
        meta["ownerReferences"] = [
            {"uid": more["owner"], "kind": "Deployment", "name": "d", "controller": True}
        ]
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": more.get(
            "template", {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
        ),
    }
    if "min_ready" in more:
        spec["minReadySeconds"] = more["min_ready"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": meta,
        "spec": spec,
        "status": more.get("status", {"replicas": 0}),
    }


def deployment(replicas: int = 2, *, image: str = "one", status: Object | None = None, **spec: Any) -> Object:
    """A Deployment d of app=web with one container of ``image``."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "d",
            "namespace": "default",
            "uid": "uid-d",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": image}]}},
        }
        | spec,
        "status": status or {},
    }
