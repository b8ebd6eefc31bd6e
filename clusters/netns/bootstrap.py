"""What a new cluster is made of: tokens, kubeconfigs, reserved numbers and the first objects. Pure."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any

from clusters.netns import plan, seed
from clusters.netns.plan import NodePlan

Object = dict[str, Any]
API_PORT = 6443
KUBELET_PORT = 10250
COMPONENTS = 16  # tokens ready for the programs of an implementation, one each


def make_tokens() -> dict[str, str]:
    """A fresh token for each user of the cluster, by user name."""
    users = ["kubernetes-admin", "kubelet", "controllers", "coredns"]
    users += [f"implementation-{number}" for number in range(plan.MOST_NODES + COMPONENTS)]
    return {user: secrets.token_urlsafe(24) for user in users}


def token_file(tokens: Mapping[str, str]) -> str:
    """The API server's token file. Groups as Kubernetes gives them to the same components."""
    groups = {
        "kubernetes-admin": ["system:masters"], "kubelet": ["system:nodes"],
        "controllers": ["system:masters"], "coredns": ["system:serviceaccounts:kube-system"],
    }
    names = {"controllers": "system:kube-controller-manager", "kubelet": "system:node:kubelet",
             "coredns": "system:serviceaccount:kube-system:coredns"}
    table = {}
    for user, token in tokens.items():
        name = names.get(user, user)
        if user.startswith("implementation-"):
            name = f"system:serviceaccount:kube-system:{user}"
        table[token] = {"user": name, "groups": [*groups.get(user, ["system:serviceaccounts"]),
                                                 "system:authenticated"]}
    return json.dumps(table)


def kubeconfig(server: str, authority: bytes, user: str, token: str) -> str:
    """An ordinary kubeconfig (JSON is YAML) with one cluster, one user and the authority inside."""
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "netns",
        "clusters": [{"name": "netns", "cluster": {
            "server": server, "certificate-authority-data": base64.b64encode(authority).decode(),
        }}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "netns", "context": {"cluster": "netns", "user": user}}],
    }, indent=1)


def reservations(seeded: bool) -> dict[str, Any]:
    """Numbers that Services get by their name; with ``seeded`` those of the post."""
    fixed: dict[str, Any] = {
        "kube-system/kube-dns": {"clusterIP": plan.DNS_SERVICE},
        "default/kubernetes": {"clusterIP": plan.API_SERVICE},
    }
    return fixed | seed.SERVICES if seeded else fixed


def node_object(node: NodePlan, kernel: str, machine: str, now: str) -> Object:
    """The Node object of one node, as its kubelet registers it."""
    roles = ("control-plane", "master") if node.index == 0 else ()
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {
                "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux",
                "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
                **{f"node-role.kubernetes.io/{role}": "true" for role in roles},
            },
            "annotations": {"service-conformance/embedded": "a network namespace, not a machine"},
        },
        "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": list(node.pod_cidrs)},
        "status": node_status(node, kernel, machine, now),
    }


def node_status(node: NodePlan, kernel: str, machine: str, now: str) -> Object:
    """The status of a ready node."""
    return {
        "addresses": [*({"type": "InternalIP", "address": address} for address in node.addresses),
                      {"type": "Hostname", "address": node.name}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                        "message": "the host's init is running", "lastHeartbeatTime": now,
                        "lastTransitionTime": now}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "declaredFeatures": ["ExtendWebSocketsToKubelet"],  # a real API server may hand its WebSockets on
        "capacity": {"cpu": "4", "memory": "4Gi", "pods": "110"},
        "allocatable": {"cpu": "4", "memory": "4Gi", "pods": "110"},
        "nodeInfo": {
            "kernelVersion": kernel, "osImage": "service-conformance embedded node", "architecture": machine,
            "containerRuntimeVersion": "forked://1", "kubeletVersion": "v1.34.0-embedded",
            "operatingSystem": "linux", "machineID": node.name, "systemUUID": node.name, "bootID": node.name,
            "kubeProxyVersion": "",
        },
    }


def first_objects() -> list[tuple[str, Object]]:
    """Collection paths and objects of the cluster DNS; the API server makes the rest itself."""
    labels = {"k8s-app": "kube-dns"}
    service = {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system",
                     "labels": labels | {"kubernetes.io/name": "CoreDNS",
                                         "kubernetes.io/cluster-service": "true"}},
        "spec": {"clusterIP": plan.DNS_SERVICE, "selector": labels, "ports": [
            {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"},
            {"name": "metrics", "port": 9153, "targetPort": 8181, "protocol": "TCP"},
        ]},
    }
    container = {
        "name": "coredns", "image": "coredns/coredns:1.11.1",
        "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"},
                  {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
    }
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": "kube-system", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"dnsPolicy": "Default", "containers": [container]},
        }},
    }
    return [
        ("/api/v1/namespaces/kube-system/services", service),
        ("/apis/apps/v1/namespaces/kube-system/deployments", deployment),
    ]


def network_plugin(node: NodePlan) -> str:
    """The node's own nftables table: pods that leave the pod network do so under the node's address.

    As flannel does it. After the Service proxy's chains (priority 100), whose decisions come first.
    """
    families = (("ip", plan.CLUSTER_CIDR, "224.0.0.0/4"), ("ip6", plan.CLUSTER_CIDR_6, "ff00::/8"))
    return "".join(f"""
table {family} cni {{
    chain postrouting {{
        type nat hook postrouting priority 110; policy accept;
        {family} saddr {pods} {family} daddr {pods} return
        {family} saddr {pods} {family} daddr != {groups} masquerade comment "pods of {node.name}"
    }}
}}
""" for family, pods, groups in families[:len(node.addresses)])
