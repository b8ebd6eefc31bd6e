"""Defaults and rules of the smaller kinds: workloads, EndpointSlices, ConfigMaps, Nodes, Namespaces. Pure.

Rules: ``pkg/apis/*/validation`` and ``pkg/apis/*/v1/defaults.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver import names, pods
from clusters.apiserver.metadata import label_errors
from clusters.apiserver.selectors import matches_label_selector
from clusters.apiserver.service_validation import special_ip
from clusters.apiserver.status import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)

Object = dict[str, Any]

_DATA_LIMIT = 1024 * 1024  # bytes
_MOST_ENDPOINTS, _MOST_ADDRESSES, _MOST_PORTS = 1000, 100, 20000


def default_deployment(obj: Object) -> None:
    """Sets, in place, a Deployment's defaults: one replica, rolling update by quarters, ten old revisions."""
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def default_replica_set(obj: Object) -> None:
    """Sets, in place, a ReplicaSet's defaults."""
    spec = obj.setdefault("spec", {})
    _default_template(spec)


def _default_template(spec: Object) -> None:
    spec.setdefault("replicas", 1)
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pods.default_pod_spec(template.setdefault("spec", {}))


def workload_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a Deployment or ReplicaSet."""
    spec, wrong = obj["spec"], []
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        if spec.get(field, 0) < 0:
            wrong.append(invalid(f"spec.{field}", spec[field], "must be greater than or equal to 0"))
    selector = spec.get("selector")
    labels = spec["template"].get("metadata", {}).get("labels") or {}
    if selector is None:
        wrong.append(required("spec.selector"))
    else:
        wrong += selector_errors(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            wrong.append(invalid("spec.selector", selector, "empty selector is invalid for deployment"))
        elif not matches_label_selector(selector, labels):
            wrong.append(
                invalid(
                    "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
                )
            )
    wrong += label_errors(labels, "spec.template.labels")
    wrong += pods.pod_spec_errors(spec["template"]["spec"], "spec.template.spec")
    if spec["template"]["spec"].get("restartPolicy") != "Always":
        wrong.append(
            not_supported(
                "spec.template.spec.restartPolicy",
                spec["template"]["spec"].get("restartPolicy", ""),
                ("Always",),
            )
        )
    kind = spec.get("strategy", {}).get("type", "RollingUpdate")
    if kind not in {"Recreate", "RollingUpdate"}:
        wrong.append(not_supported("spec.strategy.type", kind, ("Recreate", "RollingUpdate")))
    return wrong


def selector_errors(selector: Object, path: str) -> list[FieldError]:
    """What is wrong with a LabelSelector object."""
    wrong = label_errors(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, term in enumerate(selector.get("matchExpressions") or ()):
        at, operator, values = (
            f"{path}.matchExpressions[{index}]",
            term.get("operator", ""),
            term.get("values") or [],
        )
        if operator in {"In", "NotIn"} and not values:
            wrong.append(required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in {"Exists", "DoesNotExist"} and values:
            wrong.append(
                forbidden_field(
                    f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
            )
        elif operator not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            wrong.append(invalid(f"{at}.operator", operator, "not a valid selector operator"))
        wrong += [
            invalid(f"{at}.key", term.get("key", ""), message)
            for message in names.qualified_name(term.get("key", ""))
        ]
    return wrong


def workload_update_errors(new: Object, old: Object) -> list[FieldError]:
    """The selector of a workload never changes."""
    if new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [invalid("spec.selector", new["spec"].get("selector"), "field is immutable")]


def default_endpoint_slice(obj: Object) -> None:
    """Sets, in place, an EndpointSlice's defaults: port names and protocols."""
    obj.setdefault("endpoints", [])
    obj.setdefault("ports", [])
    for port in obj["ports"]:
        port.setdefault("name", "")
        if not port.get("protocol"):
            port["protocol"] = "TCP"


def endpoint_slice_errors(obj: Object) -> list[FieldError]:
    """What is wrong with an EndpointSlice."""
    kind, wrong = obj.get("addressType", ""), []
    kinds = ("FQDN", "IPv4", "IPv6")
    if not kind:
        wrong.append(required("addressType"))
    elif kind not in kinds:
        wrong.append(not_supported("addressType", kind, kinds))
    for field, limit in (("endpoints", _MOST_ENDPOINTS), ("ports", _MOST_PORTS)):
        if len(obj[field]) > limit:
            wrong.append(
                FieldError("FieldValueTooMany", field, len(obj[field]), f"must have at most {limit} items")
            )
    for index, endpoint in enumerate(obj["endpoints"][:_MOST_ENDPOINTS]):
        wrong += _endpoint_errors(endpoint, kind, f"endpoints[{index}]")
    return wrong + _slice_port_errors(obj["ports"][:_MOST_PORTS])


def _endpoint_errors(endpoint: Object, kind: str, path: str) -> list[FieldError]:
    addresses, wrong = endpoint.get("addresses", []), []
    if not addresses:
        wrong.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _MOST_ADDRESSES:
        wrong.append(
            FieldError(
                "FieldValueTooMany",
                f"{path}.addresses",
                len(addresses),
                f"must have at most {_MOST_ADDRESSES} items",
            )
        )
    for index, address in enumerate(addresses):
        at = f"{path}.addresses[{index}]"
        wrong += [invalid(at, address, message) for message in _address_errors(address, kind)]
    if name := endpoint.get("nodeName"):
        wrong += [invalid(f"{path}.nodeName", name, message) for message in names.dns_subdomain(name)]
    if name := endpoint.get("hostname"):
        wrong += [invalid(f"{path}.hostname", name, message) for message in names.dns_label(name)]
    return wrong


def _address_errors(address: str, kind: str) -> list[str]:
    if kind == "FQDN":
        return names.dns_subdomain(address)
    ip = names.parse_ip(address)
    if kind not in {"IPv4", "IPv6"}:
        return []
    if ip is None:
        return names.ip_address(address)
    if f"IPv{ip.version}" != kind:
        return [f"must be an {kind} address"]
    return special_ip(address)


def _slice_port_errors(ports: list[Object]) -> list[FieldError]:
    seen: set[str] = set()
    wrong: list[FieldError] = []
    for index, port in enumerate(ports):
        at, name = f"ports[{index}]", port["name"]
        if name:
            wrong += [invalid(f"{at}.name", name, message) for message in names.dns_label(name)]
        if name in seen:
            wrong.append(duplicate(f"{at}.name", name))
        seen.add(name)
        if port["protocol"] not in {"TCP", "UDP", "SCTP"}:
            wrong.append(not_supported(f"{at}.protocol", port["protocol"], ("SCTP", "TCP", "UDP")))
        if "port" in port:
            wrong += [
                invalid(f"{at}.port", port["port"], message) for message in names.port_number(port["port"])
            ]
    return wrong


def endpoint_slice_update_errors(new: Object, old: Object) -> list[FieldError]:
    """The address type of a slice never changes."""
    if new.get("addressType") == old.get("addressType"):
        return []
    return [invalid("addressType", new.get("addressType", ""), "field is immutable")]


def data_errors(obj: Object) -> list[FieldError]:
    """What is wrong with the data of a ConfigMap or Secret."""
    wrong: list[FieldError] = []
    size = 0
    for field in ("data", "binaryData"):
        for key, value in (obj.get(field) or {}).items():
            wrong += [invalid(f"{field}[{key}]", key, message) for message in names.config_key(key)]
            size += len(value.encode("utf-8", "surrogatepass"))
    for key in set(obj.get("data") or ()) & set(obj.get("binaryData") or ()):
        if obj["kind"] == "ConfigMap":
            wrong.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    if size > _DATA_LIMIT:
        wrong.append(too_long("data" if obj["kind"] == "Secret" else "", _DATA_LIMIT))
    return wrong


def data_update_errors(new: Object, old: Object) -> list[FieldError]:
    """An immutable ConfigMap or Secret stays as it is."""
    if not old.get("immutable"):
        return []
    if not new.get("immutable"):
        return [forbidden_field("immutable", "field is immutable when `immutable` is set")]
    return [
        forbidden_field(field, "field is immutable when `immutable` is set")
        for field in ("data", "binaryData")
        if new.get(field) != old.get(field)
    ]


def node_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a Node."""
    return [
        invalid(f"spec.podCIDRs[{index}]", value, message)
        for index, value in enumerate(obj.get("spec", {}).get("podCIDRs", ()))
        for message in names.cidr(value)
    ]


def node_update_errors(new: Object, old: Object) -> list[FieldError]:
    """A node's pod networks are given once."""
    before, after = old.get("spec", {}).get("podCIDRs"), new.get("spec", {}).get("podCIDRs")
    if before and before != after:
        return [forbidden_field("spec", 'node updates may not change podCIDR except from "" to valid')]
    return []
