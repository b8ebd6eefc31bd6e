"""An imitation of k3s's ServiceLB: which pods forward a LoadBalancer Service, which addresses it gets. Pure.

Rules, read in k3s's ``servicelb.go``: on every node a pod ``svclb-NAME-<8 of the uid>-…`` in kube-system with
a host port for each port of the Service, whose program sends on to the cluster address (externalTrafficPolicy
Local: to the node's own node port). The Service's status lists the nodes whose pod is ready, with Local only
those with a ready endpoint too, whatever pool or address somebody else had in mind. Left out here: the
DaemonSet object itself, node labels, source ranges, events, the finalizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clusters.controllers.pods import is_ready, is_terminating

Object = dict[str, Any]
NAMESPACE = "kube-system"
NAME_LABEL, SPACE_LABEL = "svccontroller.k3s.cattle.io/svcname", "svccontroller.k3s.cattle.io/svcnamespace"
_IMAGE = "rancher/klipper-lb:v0.4.9"


def wants(service: Object) -> bool:
    """Whether ServiceLB takes care of a Service: any of type LoadBalancer without a class."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and \
        not is_terminating(service)


def owner(pod: Object) -> tuple[str, str] | None:
    """The Service (namespace, name) that a forwarding pod belongs to; None for any other pod."""
    labels = pod["metadata"].get("labels") or {}
    if pod["metadata"].get("namespace") != NAMESPACE or NAME_LABEL not in labels:
        return None
    return labels.get(SPACE_LABEL, ""), labels[NAME_LABEL]


def pod_for(service: Object, node: str) -> Object:
    """The forwarding pod of a Service on a node, as it is posted."""
    meta = service["metadata"]
    app = f"svclb-{meta['name']}-{meta['uid'][:8]}"
    wanted = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": f"{app}-", "namespace": NAMESPACE,
            "labels": {"app": app, NAME_LABEL: meta["name"], SPACE_LABEL: meta["namespace"]},
        },
        "spec": {
            "containers": [_container(service, port) for port in service["spec"].get("ports") or ()],
            "terminationGracePeriodSeconds": 1,  # not 0: its ports are free when it is really gone
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [wanted]}}},
        },
    }


def _container(service: Object, port: Object) -> Object:
    spec, protocol = service["spec"], port.get("protocol", "TCP")
    local = spec.get("externalTrafficPolicy") == "Local"
    name, number = f"lb-{protocol.lower()}-{port['port']}", port["port"]
    target: Object = {"name": "DEST_IPS", "value": ",".join(spec.get("clusterIPs") or ())}
    if local:
        # With what the API server adds by itself: a pod that looks otherwise is one to replace.
        host = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}
        target = {"name": "DEST_IPS", "valueFrom": host}
    return {
        "name": name, "image": _IMAGE,
        "ports": [{"name": name, "containerPort": number, "hostPort": number, "protocol": protocol}],
        "env": [
            {"name": "SRC_PORT", "value": str(port["port"])}, {"name": "DEST_PROTO", "value": protocol},
            {"name": "DEST_PORT", "value": str(port["nodePort"] if local else port["port"])}, target,
        ],
        # Not in k3s, where a pod counts as ready a moment before its rules stand.
        "readinessProbe": {"exec": {"command": ["nft", "list", "table", "ip", name]}, "periodSeconds": 60},
    }


def node_of(pod: Object) -> str:
    """The node a forwarding pod is meant for, placed or not."""
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])


def forwards(pod: Object, service: Object) -> bool:
    """Whether a pod that is there does what the Service, as it is now, wants."""
    def face(item: Object) -> list[Any]:
        return [(one["name"], one["env"]) for one in item["spec"]["containers"]]

    fresh = pod_for(service, node_of(pod))
    return face(pod) == face(fresh) and pod["metadata"]["labels"] == fresh["metadata"]["labels"]


def addresses(
    service: Object, pods: Sequence[Object], nodes: Sequence[Object], slices: Sequence[Object],
) -> list[str]:
    """The node addresses that go into the Service's status, in order."""
    names = {pod["spec"].get("nodeName") for pod in pods if is_ready(pod)}
    if service["spec"].get("externalTrafficPolicy") == "Local":
        names &= {endpoint.get("nodeName") for one in slices for endpoint in one.get("endpoints") or ()
                  if (endpoint.get("conditions") or {}).get("ready") is not False}
    found = [address["address"] for node in nodes if node["metadata"]["name"] in names
             for address in (node.get("status") or {}).get("addresses") or ()
             if address.get("type") == "InternalIP"]
    return sorted(found)
