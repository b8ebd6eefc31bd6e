"""What happens to an object between the request and the store: ordered steps for each kind and operation.
Pure.

``complete`` sets defaults, ``errors`` and ``update_errors`` give what is wrong; the Service's numbers are
dealt by ``service_allocation``. Order: ``registry/generic/registry/store.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

from clusters.apiserver import batch, custom, definitions, kinds, pods, workloads
from clusters.apiserver.metadata import keep_server_fields, metadata_errors, metadata_update_errors
from clusters.apiserver.resources import Resource
from clusters.apiserver.service_fields import drop_fields_of_old_type, with_defaults
from clusters.apiserver.service_updates import service_update_errors
from clusters.apiserver.service_validation import service_errors
from clusters.apiserver.status import FieldError

Object = dict[str, Any]


def _default_service(obj: Object) -> None:
    obj["spec"] = with_defaults(obj.get("spec", {}))
    for ingress in obj.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        if ingress.get("ip"):
            ingress.setdefault("ipMode", "VIP")


def _default_namespace(obj: Object) -> None:
    labels = obj["metadata"].setdefault("labels", {})
    if obj["metadata"].get("name"):
        labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _default_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    for key, value in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _default_node(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs"):
        spec["podCIDR"] = spec["podCIDRs"][0]


_DEFAULTS: dict[str, Callable[[Object], None]] = {
    "Service": _default_service,
    "Namespace": _default_namespace,
    "Secret": _default_secret,
    "Node": _default_node,
    "Pod": pods.default_pod,
    "Deployment": kinds.default_deployment,
    "ReplicaSet": kinds.default_replica_set,
    "EndpointSlice": kinds.default_endpoint_slice,
    "DaemonSet": workloads.default_daemon_set,
    "StatefulSet": workloads.default_stateful_set,
    "ReplicationController": workloads.default_replication_controller,
    "Job": batch.default_job,
    "CronJob": batch.default_cron_job,
    "HorizontalPodAutoscaler": workloads.default_autoscaler,
    "PersistentVolumeClaim": workloads.default_claim,
    "RoleBinding": workloads.default_binding,
    "ClusterRoleBinding": workloads.default_binding,
    "NetworkPolicy": workloads.default_network_policy,
    "StorageClass": workloads.default_storage_class,
    "CustomResourceDefinition": definitions.set_defaults,
}
_ERRORS: dict[str, Callable[[Object], list[FieldError]]] = {
    "Service": service_errors,
    "Pod": lambda obj: pods.pod_spec_errors(obj["spec"], "spec"),
    "Deployment": kinds.workload_errors,
    "ReplicaSet": kinds.workload_errors,
    "EndpointSlice": kinds.endpoint_slice_errors,
    "ConfigMap": kinds.data_errors,
    "Secret": kinds.data_errors,
    "Node": kinds.node_errors,
    "DaemonSet": workloads.template_errors,
    "StatefulSet": workloads.template_errors,
    "ReplicationController": workloads.template_errors,
    "Job": batch.job_errors,
    "CronJob": batch.cron_job_errors,
    "HorizontalPodAutoscaler": workloads.autoscaler_errors,
    "PersistentVolumeClaim": workloads.claim_errors,
    "RoleBinding": workloads.binding_errors,
    "ClusterRoleBinding": workloads.binding_errors,
    "PodDisruptionBudget": workloads.budget_errors,
    "IPAddress": workloads.ip_address_errors,
    "ServiceCIDR": workloads.service_cidr_errors,
    "CustomResourceDefinition": definitions.errors,
}
_UPDATE_ERRORS: dict[str, Callable[[Object, Object], list[FieldError]]] = {
    "Service": service_update_errors,
    "Pod": pods.pod_update_errors,
    "Deployment": kinds.workload_update_errors,
    "ReplicaSet": kinds.workload_update_errors,
    "EndpointSlice": kinds.endpoint_slice_update_errors,
    "ConfigMap": kinds.data_update_errors,
    "Secret": kinds.data_update_errors,
    "Node": kinds.node_update_errors,
    "DaemonSet": kinds.workload_update_errors,
    "StatefulSet": kinds.workload_update_errors,
    "Job": batch.job_update_errors,
    "RoleBinding": workloads.binding_update_errors,
    "ClusterRoleBinding": workloads.binding_update_errors,
    "IPAddress": workloads.immutable_spec_errors,
}
_FIRST_STATUS: dict[str, Object] = {
    "Service": {"loadBalancer": {}},
    "Namespace": {"phase": "Active"},
    "Pod": {"phase": "Pending", "qosClass": "BestEffort"},
    "ReplicaSet": {"replicas": 0},
    "Deployment": {},
    "ReplicationController": {"replicas": 0},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
}


def set_defaults(resource: Resource, obj: Object) -> None:
    """Sets, in place, every field of the object that Kubernetes sets when it reads one; empty ones go."""
    metadata = obj["metadata"]
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        if field in metadata and not metadata[field]:
            del metadata[field]
    if resource.custom is not None:
        custom.set_defaults(resource.custom.schema, obj)
        return
    default = _DEFAULTS.get(obj["kind"])
    if default:
        default(obj)


def _kind_errors(resource: Resource, obj: Object) -> list[FieldError]:
    if resource.custom is not None:
        return custom.errors(resource.custom.schema, obj)
    rule = _ERRORS.get(resource.kind)
    return rule(obj) if rule else []


def prepare_create(resource: Resource, obj: Object) -> None:
    """Clears, in place, what a caller may not set on creation: deletion marks, and the status of most
    kinds.
    """
    metadata = obj["metadata"]
    for field in (
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "generation",
    ):
        metadata.pop(field, None)
    if resource.has_generation:
        metadata["generation"] = 1
    if resource.has_status and not resource.keeps_status_on_create:
        obj.pop("status", None)
        if resource.custom is None:
            obj["status"] = copy.deepcopy(_FIRST_STATUS.get(resource.kind, {}))
    if resource.type == "batch.v1.Job":
        batch.claim_job(obj)
    elif resource.type == "apps.v1.DaemonSet":
        workloads.count_template(obj, None)


def create_errors(resource: Resource, obj: Object) -> list[FieldError]:
    """Everything wrong with a new object."""
    return metadata_errors(resource, obj["metadata"]) + _kind_errors(resource, obj)


def prepare_update(resource: Resource, new: Object, old: Object) -> None:
    """Restores, in place, what an update of the main object may not touch: server fields and the status."""
    keep_server_fields(new["metadata"], old["metadata"])
    if resource.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copy.deepcopy(old["status"])
    if resource.core_kind == "Service":
        drop_fields_of_old_type(new["spec"], old["spec"])
        if new["spec"]["type"] != "LoadBalancer":
            new.setdefault("status", {})["loadBalancer"] = {}
    if resource.type == "apps.v1.DaemonSet":
        workloads.count_template(new, old)
    if resource.core_kind == "Namespace":
        new["spec"] = copy.deepcopy(old["spec"])  # finalizers change only by /finalize
    if resource.has_generation and _counted(new) != _counted(old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _counted(obj: Object) -> Object:
    """The fields whose change counts as a new generation; an EndpointSlice counts its labels too."""
    counted = {name: value for name, value in obj.items() if name not in {"metadata", "status"}}
    if obj["kind"] == "EndpointSlice":
        counted["labels"] = obj["metadata"].get("labels") or {}
    return counted


def prepare_status_update(resource: Resource, new: Object, old: Object) -> Object:
    """The object after an update of ``/status``: the old one with the new status (and changeable
    metadata).
    """
    metadata = copy.deepcopy(new["metadata"])
    keep_server_fields(metadata, old["metadata"])
    if resource.group == "apps":
        metadata.pop("labels", None)
        if "labels" in old["metadata"]:
            metadata["labels"] = old["metadata"]["labels"]
    changed = {**copy.deepcopy(old), "metadata": metadata}
    changed.pop("status", None)
    if "status" in new:
        changed["status"] = new["status"]
    return changed


def update_errors(resource: Resource, new: Object, old: Object) -> list[FieldError]:
    """Everything wrong with a changed object."""
    change = None if resource.custom is not None else _UPDATE_ERRORS.get(resource.kind)
    wrong = metadata_update_errors(new["metadata"], old["metadata"])
    wrong += change(new, old) if change else []
    return wrong + metadata_errors(resource, new["metadata"]) + _kind_errors(resource, new)
