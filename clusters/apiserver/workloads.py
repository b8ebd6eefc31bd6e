"""Defaults and rules of the kinds stored for others to act on: DaemonSets, RBAC, policies. Pure.

Rules: ``pkg/apis/{apps,autoscaling,rbac,policy,networking,core}`` of Kubernetes 1.36, the fields that
the objects of this project use; the others pass as they came.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver import names, pods
from clusters.apiserver.kinds import selector_errors
from clusters.apiserver.metadata import label_errors
from clusters.apiserver.selectors import matches_label_selector
from clusters.apiserver.status import FieldError, forbidden_field, invalid, not_supported, required

Object = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


def default_template(holder: Object) -> Object:
    """Sets, in place, the defaults of the pod template in a spec, and gives it."""
    template: Object = holder.setdefault("template", {})
    template.setdefault("metadata", {})
    pods.default_pod_spec(template.setdefault("spec", {}))
    return template


def default_daemon_set(obj: Object) -> None:
    """Sets, in place, a DaemonSet's defaults: rolling update one by one."""
    spec = obj.setdefault("spec", {})
    default_template(spec)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def count_template(new: Object, old: Object | None) -> None:
    """Counts, in place, the changes of a DaemonSet's template, in an annotation that users cannot set."""
    note, generation = "deprecated.daemonset.template.generation", 1
    if old is not None:
        held = (old["metadata"].get("annotations") or {}).get(note, "1")
        changed = new["spec"].get("template") != old["spec"].get("template")
        generation = (int(held) if held.isdecimal() else 1) + changed
    new["metadata"].setdefault("annotations", {})[note] = str(generation)


def default_stateful_set(obj: Object) -> None:
    """Sets, in place, a StatefulSet's defaults: one replica, one after the other."""
    spec = obj.setdefault("spec", {})
    default_template(spec)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    for claim in spec.get("volumeClaimTemplates") or ():
        default_claim(claim)


def default_replication_controller(obj: Object) -> None:
    """Sets, in place, a ReplicationController's defaults: its selector and labels are its template's."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    labels = default_template(spec)["metadata"].get("labels") or {}
    if labels and not spec.get("selector"):
        spec["selector"] = dict(labels)
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def default_autoscaler(obj: Object) -> None:
    """Sets, in place, an autoscaler's defaults: at least one replica, 80 % of the CPU asked for."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def default_claim(obj: Object) -> None:
    """Sets, in place, a PersistentVolumeClaim's defaults."""
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def default_binding(obj: Object) -> None:
    """Sets, in place, the API groups that role bindings leave out."""
    obj.setdefault("roleRef", {}).setdefault("apiGroup", _RBAC)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in {"User", "Group"}:
            subject.setdefault("apiGroup", _RBAC)


def default_network_policy(obj: Object) -> None:
    """Sets, in place, the directions a NetworkPolicy speaks of."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    spec.setdefault("policyTypes", ["Ingress", *(["Egress"] if spec.get("egress") else [])])
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")


def default_storage_class(obj: Object) -> None:
    """Sets, in place, a StorageClass's defaults."""
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def template_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a DaemonSet, StatefulSet or ReplicationController."""
    spec = obj["spec"]
    selector, template = spec.get("selector"), spec["template"]
    labels = template.get("metadata", {}).get("labels") or {}
    wrong = []
    if obj["kind"] == "ReplicationController":
        if not selector:
            wrong.append(required("spec.selector"))
        elif not selector.items() <= labels.items():
            wrong.append(_no_match(labels))
    elif selector is None:
        wrong.append(required("spec.selector"))
    else:
        wrong += selector_errors(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            words = f"empty selector is invalid for {obj['kind'].lower()}"
            wrong.append(invalid("spec.selector", selector, words))
        elif not matches_label_selector(selector, labels):
            wrong.append(_no_match(labels))
    if spec.get("replicas", 0) < 0:
        wrong.append(invalid("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
    wrong += label_errors(labels, "spec.template.labels")
    wrong += pods.pod_spec_errors(template["spec"], "spec.template.spec")
    policy = template["spec"].get("restartPolicy", "")
    if policy != "Always":
        wrong.append(not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    return wrong


def _no_match(labels: Object) -> FieldError:
    words = "`selector` does not match template `labels`"
    return invalid("spec.template.metadata.labels", labels, words)


def autoscaler_errors(obj: Object) -> list[FieldError]:
    """What is wrong with an autoscaler."""
    spec = obj["spec"]
    target, most, least = spec.get("scaleTargetRef") or {}, spec.get("maxReplicas", 0), spec["minReplicas"]
    wrong = [required(f"spec.scaleTargetRef.{field}") for field in ("kind", "name") if not target.get(field)]
    if most < 1:
        wrong.append(invalid("spec.maxReplicas", most, "must be greater than 0"))
    elif most < least:
        words = "must be greater than or equal to `minReplicas`"
        wrong.append(invalid("spec.maxReplicas", most, words))
    return wrong


def binding_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a RoleBinding or ClusterRoleBinding."""
    role = obj["roleRef"]
    wrong = [] if role.get("name") else [required("roleRef.name")]
    if role.get("kind") not in {"Role", "ClusterRole"}:
        wrong.append(not_supported("roleRef.kind", role.get("kind", ""), ("Role", "ClusterRole")))
    for index, subject in enumerate(obj.get("subjects") or ()):
        at, kind = f"subjects[{index}]", subject.get("kind", "")
        if not subject.get("name"):
            wrong.append(required(f"{at}.name"))
        if kind not in {"ServiceAccount", "User", "Group"}:
            wrong.append(not_supported(f"{at}.kind", kind, ("Group", "ServiceAccount", "User")))
        elif kind == "ServiceAccount" and not subject.get("namespace"):
            wrong.append(required(f"{at}.namespace"))
    return wrong


def binding_update_errors(new: Object, old: Object) -> list[FieldError]:
    """The role of a binding never changes."""
    if new["roleRef"] == old["roleRef"]:
        return []
    return [invalid("roleRef", new["roleRef"], "cannot change roleRef")]


def claim_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a PersistentVolumeClaim."""
    spec = obj["spec"]
    wrong = (
        []
        if spec.get("accessModes")
        else [required("spec.accessModes", "at least 1 access mode is required")]
    )
    if not (spec.get("resources") or {}).get("requests", {}).get("storage"):
        wrong.append(required("spec.resources[storage]"))
    return wrong


def ip_address_errors(obj: Object) -> list[FieldError]:
    """What is wrong with an IPAddress."""
    parent = (obj.get("spec") or {}).get("parentRef")
    if not parent:
        return [required("spec.parentRef")]
    return [required(f"spec.parentRef.{field}") for field in ("resource", "name") if not parent.get(field)]


def service_cidr_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a ServiceCIDR."""
    cidrs = (obj.get("spec") or {}).get("cidrs") or []
    if not cidrs:
        return [required("spec.cidrs", "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid("spec", cidrs, "may only hold up to 2 values")]
    return [
        invalid(f"spec.cidrs[{index}]", cidr, message)
        for index, cidr in enumerate(cidrs)
        for message in names.cidr(cidr)
    ]


def budget_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a PodDisruptionBudget."""
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        words = "minAvailable and maxUnavailable cannot be both set"
        return [invalid("spec", spec, words)]
    return selector_errors(spec["selector"], "spec.selector") if spec.get("selector") else []


def immutable_spec_errors(new: Object, old: Object) -> list[FieldError]:
    """The spec never changes."""
    return [] if new.get("spec") == old.get("spec") else [forbidden_field("spec", "field is immutable")]
