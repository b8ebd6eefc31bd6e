"""What a Service's fields mean: small questions about one, and the defaults of those left out. Pure.

Rules: ``pkg/apis/core/v1/defaults.go`` and ``pkg/api/service`` of Kubernetes 1.36.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver import names

Spec = dict[str, Any]

AFFINITY_SECONDS = 10800  # three hours
MAX_AFFINITY_SECONDS = 86400  # one day
HEADLESS = "None"
KEPT_WHEN_EMPTY = {
    "targetPort",
    "port",
    "allocateLoadBalancerNodePorts",
    "ipFamilyPolicy",
    "internalTrafficPolicy",
    "trafficDistribution",
    "loadBalancerClass",
    "appProtocol",
    "sessionAffinityConfig",
    "clientIP",
    "timeoutSeconds",
}


def needs_cluster_ip(spec: Spec) -> bool:
    """Every type but ExternalName has an address (or says ``None``)."""
    return bool(spec["type"] != "ExternalName")


def needs_node_port(spec: Spec) -> bool:
    """NodePort and LoadBalancer Services may hold node ports."""
    return spec["type"] in {"NodePort", "LoadBalancer"}


def allocates_node_ports(spec: Spec) -> bool:
    """Ports without a nodePort are given one: always for NodePort, for LoadBalancer unless switched off."""
    if spec["type"] == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True))
    return bool(spec["type"] == "NodePort")


def needs_health_check_port(spec: Spec) -> bool:
    """LoadBalancer with externalTrafficPolicy Local has a health check port on every node."""
    return spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def externally_accessible(spec: Spec) -> bool:
    """True where externalTrafficPolicy has a meaning."""
    return needs_node_port(spec) or (spec["type"] == "ClusterIP" and bool(spec.get("externalIPs")))


def is_headless(spec: Spec) -> bool:
    """True for ``clusterIP: None``."""
    return bool(spec.get("clusterIPs") == [HEADLESS])


def node_ports(spec: Spec) -> list[int]:
    """The node ports of a Service's ports, in their order; ports without one are left out."""
    return [port["nodePort"] for port in spec.get("ports", ()) if port.get("nodePort")]


def family(address: str) -> str:
    """``IPv4`` or ``IPv6``; ``unknown`` for what is no address."""
    parsed = names.parse_ip(address)
    return f"IPv{parsed.version}" if parsed else "unknown"


def without_zeros(value: Any) -> Any:
    """The value without fields that are empty, which Kubernetes takes for absent and does not write out."""
    if isinstance(value, list):
        return [without_zeros(item) for item in value]
    if not isinstance(value, dict):
        return value
    # The words of a selector are the user's own: an empty one says something.
    cleaned = {name: item if name == "selector" else without_zeros(item) for name, item in value.items()}
    return {
        name: item for name, item in cleaned.items() if name in KEPT_WHEN_EMPTY or item not in ("", 0, [], {})
    }


def with_defaults(spec: Spec) -> Spec:
    """The spec with every field set that Kubernetes sets when it reads one; numbers are not allocated
    here.
    """
    spec = without_zeros(spec)
    spec.setdefault("type", "ClusterIP")
    _default_affinity(spec)
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port.setdefault("port", 0)
        if port.get("targetPort", 0) in {0, ""}:
            port["targetPort"] = port["port"]
    if externally_accessible(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] in {"ClusterIP", "NodePort", "LoadBalancer"}:
        spec.setdefault("internalTrafficPolicy", "Cluster")
    elif spec["type"] == "ExternalName" and spec.get("internalTrafficPolicy") in {"Cluster", "Local"}:
        del spec["internalTrafficPolicy"]  # never shown of such a Service; a wrong one is still refused
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    return spec


def _default_affinity(spec: Spec) -> None:
    affinity = spec.setdefault("sessionAffinity", "None")
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        if (config.get("clientIP") or {}).get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}


def carry_over(new: Spec, old: Spec) -> None:
    """Keeps the numbers of ``old`` that ``new`` leaves out, so that sending the first manifest again
    works.
    """
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        for name in ("clusterIP", "clusterIPs"):
            if name not in new and name in old:
                new[name] = old[name] if name == "clusterIP" else list(old[name])
    if needs_node_port(old) and needs_node_port(new):
        in_use = set(node_ports(old)) & set(node_ports(new))
        by_name = {port.get("name", ""): port.get("nodePort", 0) for port in old.get("ports", ())}
        for port in new.get("ports", ()):
            known = by_name.get(port.get("name", ""), 0)
            if not port.get("nodePort") and known and known not in in_use:
                port["nodePort"] = known
    if needs_health_check_port(old) and needs_health_check_port(new) and "healthCheckNodePort" in old:
        new.setdefault("healthCheckNodePort", old["healthCheckNodePort"])


def align_cluster_ips(new: Spec, old: Spec | None) -> None:
    """Makes ``clusterIPs`` follow ``clusterIP`` for clients that write only the older, single field."""
    if old is None:
        if new.get("clusterIP") and not new.get("clusterIPs"):
            new["clusterIPs"] = [new["clusterIP"]]
        return
    before, after = old.get("clusterIP", ""), new.get("clusterIP", "")
    if old.get("clusterIPs") and not new.get("clusterIPs") and before == after:
        new["clusterIPs"] = list(old["clusterIPs"])
    if before != after and new.get("clusterIPs", []) == old.get("clusterIPs", []):
        if before and not after:
            new.pop("clusterIPs", None)
        else:
            new["clusterIPs"] = [after]


def drop_fields_of_old_type(new: Spec, old: Spec) -> None:
    """Removes fields that stopped making sense with a change of type, unless the caller changed them too."""

    def same(*fields: str) -> bool:
        return all(new.get(field) == old.get(field) for field in fields)

    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        for fields in (("clusterIP", "clusterIPs"), ("ipFamilies",), ("ipFamilyPolicy",)):
            if same(*fields):
                _drop(new, *fields)
    if needs_node_port(old) and not needs_node_port(new) and set(node_ports(new)) <= set(node_ports(old)):
        for port in new.get("ports", ()):
            port.pop("nodePort", None)
    if needs_health_check_port(old) and not needs_health_check_port(new) and same("healthCheckNodePort"):
        _drop(new, "healthCheckNodePort")
    if old["type"] == "LoadBalancer" != new["type"]:
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if same(field):
                _drop(new, field)
    if externally_accessible(old) and not externally_accessible(new) and same("externalTrafficPolicy"):
        _drop(new, "externalTrafficPolicy")


def _drop(spec: Spec, *fields: str) -> None:
    for field in fields:
        spec.pop(field, None)
