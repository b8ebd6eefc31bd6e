"""What is wrong with a Service, in Kubernetes' words and order. Pure.

Rules: ``ValidateService`` and ``ValidateServiceUpdate`` in ``pkg/apis/core/validation``, Kubernetes 1.36.
Specs come with their defaults set (``service_fields.with_defaults``).
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver import names
from clusters.apiserver.metadata import label_errors
from clusters.apiserver.service_fields import (
    HEADLESS,
    MAX_AFFINITY_SECONDS,
    Spec,
    externally_accessible,
    family,
    is_headless,
    needs_health_check_port,
)
from clusters.apiserver.status import FieldError, duplicate, forbidden_field, invalid, not_supported, required

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def service_errors(service: dict[str, Any]) -> list[FieldError]:
    """Everything wrong with a Service's own fields (its name is checked with the metadata)."""
    spec = service["spec"]
    wrong: list[FieldError] = []
    if not spec.get("ports") and not is_headless(spec) and spec["type"] != "ExternalName":
        wrong.append(required("spec.ports"))
    wrong += _type_errors(spec)
    wrong += _port_errors(spec)
    wrong += label_errors(spec.get("selector") or {}, "spec.selector")
    wrong += _affinity_errors(spec)
    wrong += cluster_ip_errors(spec)
    wrong += _external_ip_errors(spec)
    if spec["type"] not in _TYPES:
        wrong.append(not_supported("spec.type", spec["type"], _TYPES))
    wrong += _duplicate_port_errors(spec)
    wrong += _source_range_errors(spec, service["metadata"].get("annotations") or {})
    wrong += _load_balancer_errors(spec)
    return wrong + _traffic_policy_errors(spec)


def _type_errors(spec: Spec) -> list[FieldError]:
    kind = spec["type"]
    if kind in {"LoadBalancer", "NodePort"} and is_headless(spec):
        return [invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {kind} services")]
    if kind != "ExternalName":
        return []
    wrong = [
        forbidden_field(f"spec.{field}", "may not be set for ExternalName services")
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(field) or (field == "ipFamilyPolicy" and field in spec)  # a pointer: set, though empty
    ]
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        return [*wrong, required("spec.externalName")]
    return wrong + [invalid("spec.externalName", name, message) for message in names.dns_subdomain(name)]


def _port_errors(spec: Spec) -> list[FieldError]:
    ports, seen, wrong = spec.get("ports", []), set(), []
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name", "")
        if name:
            wrong += [invalid(f"{path}.name", name, message) for message in names.dns_label(name)]
            if name in seen:
                wrong.append(duplicate(f"{path}.name", name))
            seen.add(name)
        elif len(ports) > 1:
            wrong.append(required(f"{path}.name"))
        wrong += [
            invalid(f"{path}.port", port["port"], message) for message in names.port_number(port["port"])
        ]
        if port["protocol"] not in _PROTOCOLS:
            wrong.append(not_supported(f"{path}.protocol", port["protocol"], _PROTOCOLS))
        target = port["targetPort"]
        rule = names.port_name(target) if isinstance(target, str) else names.port_number(target)
        wrong += [invalid(f"{path}.targetPort", target, message) for message in rule]
        if "appProtocol" in port:
            wrong += [
                invalid(f"{path}.appProtocol", port["appProtocol"], message)
                for message in names.qualified_name(port["appProtocol"])
            ]
    return wrong


def _affinity_errors(spec: Spec) -> list[FieldError]:
    affinity, path = spec["sessionAffinity"], "spec.sessionAffinityConfig"
    if affinity == "None":
        if "sessionAffinityConfig" in spec:
            return [forbidden_field(path, "must not be set when session affinity is None")]
        return []
    if affinity != "ClientIP":
        return [not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))]
    seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
    if not 0 < seconds <= MAX_AFFINITY_SECONDS:
        return [
            invalid(
                f"{path}.clientIP.timeoutSeconds",
                seconds,
                f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}",
            )
        ]
    return []


def cluster_ip_errors(spec: Spec) -> list[FieldError]:
    """What is wrong between clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy; also asked before
    allocation.
    """
    if spec["type"] == "ExternalName":
        return []
    addresses, wrong = spec.get("clusterIPs", []), _sync_errors(spec)
    wrong += _family_errors(spec)
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    if "ipFamilyPolicy" in spec and spec["ipFamilyPolicy"] not in policies:
        wrong.append(not_supported("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], policies))
    malformed = _malformed_addresses(addresses)
    wrong += malformed
    if len(addresses) > 2:
        wrong.append(invalid("spec.clusterIPs", addresses, "may only hold up to 2 values"))
    if malformed:
        return wrong
    if len(addresses) > 1 and len({family(address) for address in addresses}) < 2:
        wrong.append(
            invalid("spec.clusterIPs", addresses, "may specify no more than one IP for each IP family")
        )
    if not is_headless(spec):
        wrong += [
            invalid(
                f"spec.clusterIPs[{index}]",
                address,
                f"expected an {name} value as indicated by `ipFamilies[{index}]`",
            )
            for index, (address, name) in enumerate(zip(addresses, spec.get("ipFamilies", ()), strict=False))
            if name in {"IPv4", "IPv6"} and family(address) != name
        ]
    return wrong


def _family_errors(spec: Spec) -> list[FieldError]:
    wrong: list[FieldError] = []
    seen: set[str] = set()
    for index, name in enumerate(spec.get("ipFamilies", ())):
        if name not in {"IPv4", "IPv6"}:
            wrong.append(not_supported(f"spec.ipFamilies[{index}]", name, ("IPv4", "IPv6")))
        if name in seen:
            wrong.append(duplicate(f"spec.ipFamilies[{index}]", name))
        seen.add(name)
    return wrong


def _sync_errors(spec: Spec) -> list[FieldError]:
    address, addresses = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    if address and not addresses:
        return [required("spec.clusterIPs")]
    if address and addresses[0] != address:
        return [invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")]
    if not address and addresses:
        return [invalid("spec.clusterIPs", addresses, "must be empty when `clusterIP` is not specified")]
    return []


def _malformed_addresses(addresses: list[str]) -> list[FieldError]:
    wrong = []
    for index, address in enumerate(addresses):
        if index == 0 and address == HEADLESS:
            if len(addresses) > 1:
                wrong.append(invalid("spec.clusterIPs", addresses, "'None' must be the first and only value"))
            continue
        wrong += [
            invalid(f"spec.clusterIPs[{index}]", address, message) for message in names.ip_address(address)
        ]
    return wrong


def _external_ip_errors(spec: Spec) -> list[FieldError]:
    wrong = []
    for index, address in enumerate(spec.get("externalIPs", ())):
        messages = names.ip_address(address) or special_ip(address)
        wrong += [invalid(f"spec.externalIPs[{index}]", address, message) for message in messages]
    return wrong


def special_ip(address: str) -> list[str]:
    """Why a well-formed address cannot be a Service's or an endpoint's: it is unspecified, loopback or
    link-local.
    """
    ip = names.parse_ip(address)
    if ip is None:
        return []
    rules = (
        (ip.is_unspecified, f"may not be unspecified ({address})"),
        (ip.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (ip.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            ip.is_multicast and (ip.packed[:3] == b"\xe0\0\0" or ip.packed[:2] == b"\xff\x02"),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    )
    return [message for broken, message in rules if broken]


def _duplicate_port_errors(spec: Spec) -> list[FieldError]:
    wrong, ports = [], spec.get("ports", [])
    if spec["type"] == "ClusterIP":
        wrong += [
            forbidden_field(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
            for index, port in enumerate(ports)
            if port.get("nodePort")
        ]
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        number = port.get("nodePort", 0)
        if number and (port["protocol"], number) in seen:
            wrong.append(duplicate(f"spec.ports[{index}].nodePort", number))
        seen.add((port["protocol"], number))
    seen = set()
    for index, port in enumerate(ports):
        key = (port["protocol"], port["port"])
        if key in seen:
            # Kubernetes prints its internal type here, upper case and all.
            wrong.append(
                duplicate(
                    f"spec.ports[{index}]",
                    {
                        "Name": "",
                        "Protocol": key[0],
                        "AppProtocol": None,
                        "Port": key[1],
                        "TargetPort": 0,
                        "NodePort": 0,
                    },
                )
            )
        seen.add(key)
    return wrong


def _source_range_errors(spec: Spec, annotations: dict[str, str]) -> list[FieldError]:
    ranges, path = spec.get("loadBalancerSourceRanges", []), "spec.LoadBalancerSourceRanges"
    if ranges:
        checked = [(f"{path}[{index}]", value.strip()) for index, value in enumerate(ranges)]
    elif SOURCE_RANGES in annotations:
        path = f"metadata.annotations[{SOURCE_RANGES}]"
        text = annotations[SOURCE_RANGES].strip()
        checked = [(path, value.strip()) for value in text.split(",")] if text else []
    else:
        return []
    wrong = [] if spec["type"] == "LoadBalancer" else [forbidden_field(path, _ONLY_LOAD_BALANCER)]
    return wrong + [
        invalid(field, value, message) for field, value in checked for message in names.cidr(value)
    ]


def _load_balancer_errors(spec: Spec) -> list[FieldError]:
    field = "allocateLoadBalancerNodePorts"
    wrong = [forbidden_field(f"spec.{field}", _ONLY_LOAD_BALANCER)] if field in spec else []
    return class_errors(spec) if spec["type"] == "LoadBalancer" else wrong + class_errors(spec)


def class_errors(spec: Spec) -> list[FieldError]:
    """What is wrong with loadBalancerClass by itself."""
    field = "spec.loadBalancerClass"
    if "loadBalancerClass" not in spec:
        return []
    if spec["type"] != "LoadBalancer":
        return [forbidden_field(field, _ONLY_LOAD_BALANCER)]
    name = spec["loadBalancerClass"]
    return [invalid(field, name, message) for message in names.qualified_name(name)]


def _traffic_policy_errors(spec: Spec) -> list[FieldError]:
    wrong, field = [], "spec.externalTrafficPolicy"
    policy = spec.get("externalTrafficPolicy", "")
    if not externally_accessible(spec):
        if policy:
            wrong.append(invalid(field, policy, "may only be set for externally-accessible services"))
    elif policy not in {"Cluster", "Local"}:
        wrong.append(not_supported(field, policy, ("Cluster", "Local")))
    port, field = spec.get("healthCheckNodePort", 0), "spec.healthCheckNodePort"
    if needs_health_check_port(spec):
        wrong += (
            [required(field)]
            if not port
            else [invalid(field, port, message) for message in names.port_number(port)]
        )
    elif port:
        wrong.append(
            invalid(
                field,
                port,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            )
        )
    if spec.get("internalTrafficPolicy", "Cluster") not in {"Cluster", "Local"}:
        wrong.append(
            not_supported("spec.internalTrafficPolicy", spec["internalTrafficPolicy"], ("Cluster", "Local"))
        )
    preferences = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if "trafficDistribution" in spec and spec["trafficDistribution"] not in preferences:
        wrong.append(not_supported("spec.trafficDistribution", spec["trafficDistribution"], preferences))
    return wrong
