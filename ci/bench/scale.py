"""The objects of a cluster with very many Services of two endpoints each, as large as a real server's."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

VIPS, ENDPOINTS, SPARE = (IPv4Address(a) for a in ("10.65.0.0", "10.128.0.0", "10.192.0.0"))
NODE, NODE_IP = "bench", "192.168.2.114"
STAMP = "2026-01-01T00:00:00Z"
SERVICES, SLICES, NODES = "services", "endpointslices", "nodes"
LISTS = {
    SERVICES: ("v1", "ServiceList"),
    SLICES: ("discovery.k8s.io/v1", "EndpointSliceList"),
    NODES: ("v1", "NodeList"),
    "servicecidrs": ("networking.k8s.io/v1", "ServiceCIDRList"),
}


def vip(number: int) -> str:
    """The cluster address of Service ``number``."""
    return str(VIPS + number + 1)


def endpoints(number: int) -> list[str]:
    """The two endpoints Service ``number`` has at first."""
    return [str(ENDPOINTS + 4 * number + 1), str(ENDPOINTS + 4 * number + 2)]


def _meta(name: str, kind: str, version: int, owned: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Metadata as large as a real server's: who manages which field is most of it."""
    managed = [
        {
            "manager": "kube-controller-manager",
            "operation": "Update",
            "apiVersion": LISTS[kind][0],
            "time": STAMP,
            "fieldsType": "FieldsV1",
            "fieldsV1": owned,
        }
    ]
    return {
        "name": name,
        "namespace": "scale",
        "uid": f"00000000-0000-4000-8000-{version:012d}",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": STAMP,
        **more,
        "managedFields": managed,
    }


def service(number: int) -> dict[str, Any]:
    """Service ``number`` as a server would send it."""
    owned = {
        "f:spec": {
            f"f:{name}": {}
            for name in ("internalTrafficPolicy", "ports", "selector", "sessionAffinity", "type")
        },
        "f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:tier": {}}},
    }
    spec = {
        "ports": [{"name": "p", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        "selector": {"app": f"svc-{number}"},
        "clusterIP": vip(number),
        "clusterIPs": [vip(number)],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    labels = {"app": f"svc-{number}", "tier": "bench"}
    return {
        "metadata": _meta(f"svc-{number:06d}", SERVICES, number + 1, owned, labels=labels),
        "spec": spec,
        "status": {"loadBalancer": {}},
    }


def slice_of(number: int, addresses: list[str], version: int = 1) -> dict[str, Any]:
    """The EndpointSlice of Service ``number``."""
    owned: dict[str, Any] = {
        "f:addressType": {},
        "f:endpoints": {},
        "f:ports": {},
        "f:metadata": {
            "f:generateName": {},
            "f:labels": {
                ".": {},
                "f:app": {},
                "f:endpointslice.kubernetes.io/managed-by": {},
                "f:kubernetes.io/service-name": {},
            },
            "f:ownerReferences": {".": {}, f'k:{{"uid":"00000000-0000-4000-8000-{number + 1:012d}"}}': {}},
        },
    }
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": f"svc-{number:06d}",
        "controller": True,
        "blockOwnerDeletion": True,
        "uid": f"00000000-0000-4000-8000-{number + 1:012d}",
    }
    labels = {
        "app": f"svc-{number}",
        "kubernetes.io/service-name": f"svc-{number:06d}",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    meta = _meta(
        f"svc-{number:06d}-x7k2p",
        SLICES,
        version,
        owned,
        labels=labels,
        generateName=f"svc-{number:06d}-",
        ownerReferences=[owner],
    )
    ends = [
        {
            "addresses": [address],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "another",
            "targetRef": {
                "kind": "Pod",
                "namespace": "scale",
                "name": f"svc-{number}-{at}",
                "uid": f"00000000-0000-4000-9000-{4 * number + at:012d}",
            },
        }
        for at, address in enumerate(addresses)
    ]
    return {
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": ends,
        "ports": [{"name": "p", "protocol": "TCP", "port": 8080}],
    }


def node() -> dict[str, Any]:
    """The one Node."""
    status = {
        "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": NODE}],
        "conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": STAMP, "lastTransitionTime": STAMP}
        ],
    }
    return {
        "metadata": {"name": NODE, "uid": "n", "resourceVersion": "1", "creationTimestamp": STAMP},
        "spec": {},
        "status": status,
    }
