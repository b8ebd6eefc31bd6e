"""A real control plane: how etcd, kube-apiserver and their companions are called, and who may do what.

Pure; ``netns/realplane.py`` starts them. Source of the flags: each program's own reference, Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
ETCD = "http://127.0.0.1:2379"
_PEER = "http://127.0.0.1:2380"
_RBAC = "rbac.authorization.k8s.io"
# User name and groups of each token, as Kubernetes names the same components.
_USERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "kubernetes-admin": ("kubernetes-admin", ("system:masters",)),
    "kubelet": ("system:node:kubelet", ("system:nodes",)),
    "controllers": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "coredns": ("system:serviceaccount:kube-system:coredns",
                ("system:serviceaccounts", "system:serviceaccounts:kube-system")),
}
USERS = tuple(_USERS)


@dataclass(frozen=True)
class Where:
    """Addresses, networks and files of one control plane."""

    address: str  # of the API server on the node network
    port: int
    service_cidr: str
    cluster_cidr: str
    node_grace: float  # seconds a node may be silent
    folder: Path  # certificates, keys, kubeconfigs
    data: str = "/run/etcd"  # memory of the host that etcd runs on: it ends with it

    @property
    def pki(self) -> Path:
        """The folder of certificates and keys."""
        return self.folder / "pki"


def etcd(where: Where) -> tuple[str, ...]:
    """The words after ``etcd``; it listens on loopback only."""
    return (
        "--name=netns", f"--data-dir={where.data}", f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}", f"--listen-peer-urls={_PEER}",
        f"--initial-advertise-peer-urls={_PEER}", f"--initial-cluster=netns={_PEER}",
        "--quota-backend-bytes=4294967296",
    )


def api_server(where: Where) -> tuple[str, ...]:
    """The words after ``kube-apiserver``. Admission is its own default, less ServiceAccount.

    That plug-in mounts a token into every pod, which a node here does not do.
    """
    pki = where.pki
    return (
        f"--etcd-servers={ETCD}", f"--bind-address={where.address}", f"--advertise-address={where.address}",
        f"--secure-port={where.port}", f"--tls-cert-file={pki}/server.crt",
        f"--tls-private-key-file={pki}/server.key", f"--token-auth-file={where.folder}/tokens.csv",
        "--authorization-mode=RBAC", f"--service-cluster-ip-range={where.service_cidr}",
        "--service-node-port-range=30000-32767", "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.key", f"--service-account-signing-key-file={pki}/sa.key",
        "--disable-admission-plugins=ServiceAccount", "--allow-privileged", "--profiling=false",
        "--kubelet-preferred-address-types=InternalIP",
    )


def controller_manager(where: Where) -> tuple[str, ...]:
    """The words after ``kube-controller-manager``: every controller but those of node networks and disks."""
    without = ("node-ipam-controller", "persistentvolume-binder-controller",
               "persistentvolume-attach-detach-controller", "persistentvolume-expander-controller")
    return (
        f"--kubeconfig={where.folder}/controllers", "--leader-elect=false", "--secure-port=0",
        "--use-service-account-credentials", "--kube-api-qps=1000", "--kube-api-burst=2000",
        f"--service-account-private-key-file={where.pki}/sa.key",
        f"--root-ca-file={where.pki}/ca.crt", "--controllers=*," + ",".join(f"-{name}" for name in without),
        f"--service-cluster-ip-range={where.service_cidr}", f"--cluster-cidr={where.cluster_cidr}",
        f"--node-monitor-grace-period={where.node_grace:g}s",
        f"--node-monitor-period={min(1.0, where.node_grace / 8):g}s", "--profiling=false",
    )


def scheduler(where: Where) -> tuple[str, ...]:
    """The words after ``kube-scheduler``."""
    return (f"--kubeconfig={where.folder}/scheduler", "--leader-elect=false", "--secure-port=0")


def token_table(tokens: Mapping[str, str]) -> str:
    """The static token file: token, user, uid and groups a line; who is not known here may do everything."""
    lines = []
    for name, token in tokens.items():
        user, groups = _USERS.get(name, (name, ("system:masters",)))
        lines.append(f'{token},{user},{name},"{",".join(groups)}"')
    return "\n".join(lines) + "\n"


def access() -> list[tuple[str, Object]]:
    """Collection paths and objects: what the kubelet of all nodes and the cluster DNS may do.

    kubelet: Kubernetes' own ``system:node`` role fits one node's kubelet and needs the Node authorizer; this
    one stands for all nodes. The controllers and the scheduler have the roles Kubernetes makes for them.
    """
    read = ["get", "list", "watch"]
    kubelet = [
        _rule([""], ["nodes", "pods", "services", "configmaps", "secrets", "serviceaccounts", "namespaces",
                     "persistentvolumeclaims", "persistentvolumes", "endpoints"], read),
        _rule([""], ["nodes", "pods"], ["create", "update", "patch", "delete"]),
        _rule([""], ["nodes/status", "pods/status"], ["update", "patch"]),
        _rule([""], ["serviceaccounts/token", "events"], ["create", "patch", "update"]),
        _rule(["events.k8s.io"], ["events"], ["create", "patch", "update"]),
        _rule(["coordination.k8s.io"], ["leases"], ["get", "create", "update", "patch", "delete"]),
    ]
    dns = [_rule([""], ["services", "pods", "namespaces", "endpoints", "nodes"], read),
           _rule(["discovery.k8s.io"], ["endpointslices"], read)]
    return [*_grant("service-conformance:kubelet", kubelet, _USERS["kubelet"][0]),
            *_grant("service-conformance:coredns", dns, _USERS["coredns"][0])]


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> Object:
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}


def _grant(name: str, rules: list[Object], user: str) -> list[tuple[str, Object]]:
    """A ClusterRole and its binding to a user."""
    base = f"/apis/{_RBAC}/v1"
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": f"{_RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }
    return [(f"{base}/clusterroles", role), (f"{base}/clusterrolebindings", binding)]
