"""How rules and networks are shown: RBAC, policies, Ingress, addresses. Pure; columns of Kubernetes 1.36."""

from __future__ import annotations

from clusters.apiserver.columns import (
    NONE,
    UNSET,
    Cells,
    Layout,
    Object,
    age,
    columns,
    name,
    number,
    part,
    selector,
)


def created_at(obj: Object, _now: float) -> Cells:
    """The two cells of kinds without columns of their own."""
    return [name(obj), obj["metadata"].get("creationTimestamp", "")]


def _binding(obj: Object, now: float) -> Cells:
    role, subjects = part(obj, "roleRef"), obj.get("subjects") or []

    def named(kind: str) -> str:
        found = [subject for subject in subjects if subject.get("kind") == kind]
        return ", ".join(
            f"{s.get('namespace', '')}/{s.get('name', '')}" if kind == "ServiceAccount" else s.get("name", "")
            for s in found
        )

    return [
        name(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age(obj, now),
        named("User"),
        named("Group"),
        named("ServiceAccount"),
    ]


def _budget(obj: Object, now: float) -> Cells:
    spec = part(obj, "spec")
    return [
        name(obj),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        number(obj, "status", "disruptionsAllowed"),
        age(obj, now),
    ]


def _pod_security(obj: Object, _now: float) -> Cells:
    spec = part(obj, "spec")

    def rule(field: str) -> str:
        return str(part(spec, field).get("rule", ""))

    return [
        name(obj),
        str(bool(spec.get("privileged"))).lower(),
        ",".join(spec.get("allowedCapabilities") or ()),
        *(rule(field) for field in ("seLinux", "runAsUser", "fsGroup", "supplementalGroups")),
        str(bool(spec.get("readOnlyRootFilesystem"))).lower(),
        ",".join(spec.get("volumes") or ()),
    ]


def _ingress(obj: Object, now: float) -> Cells:
    spec = part(obj, "spec")
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    shown = ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")
    addresses = part(obj, "status", "loadBalancer").get("ingress") or ()
    return [
        name(obj),
        spec.get("ingressClassName") or NONE,
        shown or "*",
        ",".join(str(at.get("ip") or at.get("hostname") or "") for at in addresses),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _parent(obj: Object, now: float) -> Cells:
    parent = part(obj, "spec", "parentRef")
    shown = NONE
    if parent:
        kind = ".".join(filter(None, (parent.get("resource"), parent.get("group"))))
        shown = "/".join(filter(None, (kind, parent.get("namespace"), parent.get("name"))))
    return [name(obj), shown, age(obj, now)]


def _storage_class(obj: Object, now: float) -> Cells:
    default = (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class")
    return [
        name(obj) + (" (default)" if default == "true" else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode") or UNSET,
        str(bool(obj.get("allowVolumeExpansion"))).lower(),
        age(obj, now),
    ]


def _ingress_class(obj: Object, now: float) -> Cells:
    found = part(obj, "spec", "parameters")
    kind = ".".join(filter(None, (found.get("kind"), found.get("apiGroup"))))
    shown = f"{kind}/{found.get('name', '')}" if found else NONE
    return [name(obj), part(obj, "spec").get("controller", ""), shown, age(obj, now)]


def _policy_selector(obj: Object, now: float) -> Cells:
    return [name(obj), selector(part(obj, "spec", "podSelector")), age(obj, now)]


CREATED = Layout(columns("Name, Created At"), created_at)
_BINDING = Layout(columns("Name, Role, Age, Users*, Groups*, ServiceAccounts*"), _binding)

LAYOUTS = {
    "Role": CREATED,
    "ClusterRole": CREATED,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "LimitRange": CREATED,
    "CustomResourceDefinition": CREATED,
    "PodDisruptionBudget": Layout(
        columns("Name, Min Available, Max Unavailable, Allowed Disruptions#, Age"), _budget
    ),
    "PodSecurityPolicy": Layout(
        columns("Name, Priv, Caps, SELinux, RunAsUser, FSGroup, SupGroup, ReadOnlyRootFS, Volumes"),
        _pod_security,
    ),
    "Ingress": Layout(columns("Name, Class, Hosts, Address, Ports, Age"), _ingress),
    "IngressClass": Layout(columns("Name, Controller, Parameters, Age"), _ingress_class),
    "NetworkPolicy": Layout(columns("Name, Pod-Selector, Age"), _policy_selector),
    "ServiceCIDR": Layout(
        columns("Name, CIDRs, Age"),
        lambda obj, now: [name(obj), ",".join(part(obj, "spec").get("cidrs") or ()), age(obj, now)],
    ),
    "IPAddress": Layout(columns("Name, ParentRef, Age"), _parent),
    "StorageClass": Layout(
        columns("Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age"),
        _storage_class,
    ),
    "RuntimeClass": Layout(
        columns("Name, Handler, Age"), lambda obj, now: [name(obj), obj.get("handler", ""), age(obj, now)]
    ),
}
