"""The built-in kinds as one table, read from the published API reference of Kubernetes 1.36.

PodSecurityPolicy is gone from Kubernetes since 1.25; it is kept as an object without effect, because older
manifests bring one, and everybody who uses it is warned.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver.resources import Catalogue, Resource

_PSP = "policy/v1beta1 PodSecurityPolicy is deprecated in v1.21+, unavailable in v1.25+"


def _kind(where: str, plural: str, kind: str, short: str = "", sub: str = "", **habits: Any) -> Resource:
    """One line of the table; ``where`` is group/version, words stand apart by blanks."""
    group, _, version = where.rpartition("/")
    if habits.pop("all", False):
        habits["categories"] = ("all",)
    if habits.pop("cluster", False):
        habits["namespaced"] = False
    return Resource(
        group, version, plural, kind, short=tuple(short.split()), subresources=tuple(sub.split()), **habits
    )


def _counted(where: str, plural: str, kind: str, short: str = "", sub: str = "", **habits: Any) -> Resource:
    """A kind whose generation is counted."""
    return _kind(where, plural, kind, short, sub, has_generation=True, **habits)


_RBAC, _NET, _STORE = "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1", "storage.k8s.io/v1"

RESOURCES: tuple[Resource, ...] = (
    _kind("v1", "namespaces", "Namespace", "ns", "finalize status", cluster=True),
    _kind("v1", "nodes", "Node", "no", "status", cluster=True, keeps_status_on_create=True),
    _counted(
        "v1", "pods", "Pod", "po", "attach binding eviction exec log portforward status",
        all=True, returns_deleted=True,
    ),
    _kind(
        "v1", "services", "Service", "svc", "status", all=True, create_on_update=True, returns_deleted=True
    ),
    _kind("v1", "configmaps", "ConfigMap", "cm"),
    _kind("v1", "events", "Event", "ev", create_on_update=True),
    _kind("v1", "endpoints", "Endpoints", "ep", create_on_update=True),
    _kind("v1", "secrets", "Secret"),
    _kind("v1", "serviceaccounts", "ServiceAccount", "sa", "token", returns_deleted=True),
    _counted("v1", "replicationcontrollers", "ReplicationController", "rc", "scale status", all=True),
    _kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", "status", returns_deleted=True),
    _kind("v1", "persistentvolumes", "PersistentVolume", "pv", "status", cluster=True, returns_deleted=True),
    _kind("v1", "limitranges", "LimitRange", "limits"),
    _kind("v1", "resourcequotas", "ResourceQuota", "quota", "status", returns_deleted=True),
    _kind("v1", "podtemplates", "PodTemplate", returns_deleted=True),
    _counted("apps/v1", "deployments", "Deployment", "deploy", "scale status", all=True),
    _counted("apps/v1", "replicasets", "ReplicaSet", "rs", "scale status", all=True),
    _counted("apps/v1", "daemonsets", "DaemonSet", "ds", "status", all=True),
    _counted("apps/v1", "statefulsets", "StatefulSet", "sts", "scale status", all=True),
    _kind("apps/v1", "controllerrevisions", "ControllerRevision"),
    _counted("batch/v1", "jobs", "Job", "", "status", all=True),
    _counted("batch/v1", "cronjobs", "CronJob", "cj", "status", all=True),
    _kind("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", "status", all=True),
    _kind(
        "autoscaling/v1",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "hpa",
        "status",
        all=True,
        stored_as="autoscaling/v2/horizontalpodautoscalers",
    ),
    _counted("discovery.k8s.io/v1", "endpointslices", "EndpointSlice"),
    _kind("events.k8s.io/v1", "events", "Event", "ev", stored_as="/v1/events"),
    _kind("coordination.k8s.io/v1", "leases", "Lease", create_on_update=True, needs_version=True),
    _counted(_NET, "ingresses", "Ingress", "ing", "status"),
    _counted(_NET, "ingressclasses", "IngressClass", cluster=True),
    _counted(_NET, "networkpolicies", "NetworkPolicy", "netpol"),
    _kind(_NET, "servicecidrs", "ServiceCIDR", "", "status", cluster=True),
    _kind(_NET, "ipaddresses", "IPAddress", "ip", cluster=True),
    _counted("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", "status"),
    _kind(
        "policy/v1beta1",
        "podsecuritypolicies",
        "PodSecurityPolicy",
        "psp",
        cluster=True,
        returns_deleted=True,
        warning=_PSP,
    ),
    _kind(_RBAC, "roles", "Role"),
    _kind(_RBAC, "rolebindings", "RoleBinding"),
    _kind(_RBAC, "clusterroles", "ClusterRole", cluster=True),
    _kind(_RBAC, "clusterrolebindings", "ClusterRoleBinding", cluster=True),
    _kind("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", "pc", cluster=True),
    _kind(_STORE, "storageclasses", "StorageClass", "sc", cluster=True, returns_deleted=True),
    _counted(
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd crds",
        "status",
        cluster=True,
    ),
)


def _review(where: str, plural: str, kind: str, **habits: Any) -> Resource:
    """A kind that is answered, not stored."""
    return _kind(where, plural, kind, verbs=("create",), is_review=True, **habits)


_AUTHN, _AUTHZ = "authentication.k8s.io/v1", "authorization.k8s.io/v1"

RESOURCES += (
    _review(_AUTHN, "tokenreviews", "TokenReview", cluster=True),
    _review(_AUTHN, "selfsubjectreviews", "SelfSubjectReview", cluster=True),
    _review(_AUTHZ, "subjectaccessreviews", "SubjectAccessReview", cluster=True),
    _review(_AUTHZ, "selfsubjectaccessreviews", "SelfSubjectAccessReview", cluster=True),
    _review(_AUTHZ, "localsubjectaccessreviews", "LocalSubjectAccessReview"),
    _review(_AUTHZ, "selfsubjectrulesreviews", "SelfSubjectRulesReview", cluster=True),
)

_CATALOGUE = Catalogue(RESOURCES)


def find(group: str, version: str, plural: str) -> Resource | None:
    """A built-in kind, or None when there is no such."""
    return _CATALOGUE.find(group, version, plural)


def builtin(group: str, version: str, plural: str) -> Resource:
    """A built-in kind that is there; KeyError names one that is not."""
    found = find(group, version, plural)
    if found is None:
        raise KeyError(f"{group}/{version}/{plural}")
    return found
