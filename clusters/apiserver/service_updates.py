"""What an update of a Service may not change, in Kubernetes' words. Pure.

Rules: ``ValidateServiceUpdate`` in ``pkg/apis/core/validation``, Kubernetes 1.36.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver.service_fields import Spec, is_headless, needs_health_check_port
from clusters.apiserver.service_validation import class_errors
from clusters.apiserver.status import FieldError, forbidden_field, invalid


def service_update_errors(new: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
    """What an update may not change: the primary address and family, loadBalancerClass, the health check
    port.
    """
    after, before = new["spec"], old["spec"]
    wrong: list[FieldError] = []
    if "ExternalName" not in {after["type"], before["type"]}:
        wrong += _frozen_addresses(after, before)
        if is_headless(after) == is_headless(before) is False:
            wrong += _frozen_families(after, before)
    both_balance = after["type"] == before["type"] == "LoadBalancer"
    both_check = needs_health_check_port(after) and needs_health_check_port(before)
    name, port = "loadBalancerClass", "healthCheckNodePort"
    if both_balance and after.get(name) != before.get(name):
        wrong.append(invalid(f"spec.{name}", after.get(name), "may not change once set"))
    wrong += class_errors(after)  # Kubernetes looks twice, and tells of it twice
    if both_check and after.get(port) != before.get(port):
        wrong.append(forbidden_field(f"spec.{port}", "field is immutable"))
    return wrong


def _frozen_addresses(after: Spec, before: Spec) -> list[FieldError]:
    new, old = after.get("clusterIPs", []), before.get("clusterIPs", [])
    if is_headless(after) and is_headless(before):
        return []
    if len(new) == len(old):
        return [
            invalid(f"spec.clusterIPs[{index}]", new, "may not change once set")
            for index, address in enumerate(old)
            if address != new[index]
        ]
    wrong = []
    if old and not new:
        wrong.append(invalid("spec.clusterIPs[0]", new, "primary clusterIP can not be unset"))
    if old and new and old[0] != new[0]:
        wrong.append(invalid("spec.clusterIPs[0]", new, "may not change once set"))
    if len(old) > len(new) == 1 and after.get("ipFamilyPolicy") != "SingleStack":
        wrong.append(
            invalid(
                "spec.ipFamilyPolicy",
                after.get("ipFamilyPolicy"),
                "must be set to 'SingleStack' when releasing the secondary clusterIP",
            )
        )
    return wrong


def _frozen_families(after: Spec, before: Spec) -> list[FieldError]:
    new, old = after.get("ipFamilies", []), before.get("ipFamilies", [])
    if len(new) == len(old):
        return [
            invalid("spec.ipFamilies[0]", new, "may not change once set")
            for index, name in enumerate(old)
            if name != new[index]
        ]
    wrong = []
    if old and new and old[0] != new[0]:
        wrong.append(invalid("spec.ipFamilies[0]", after.get("clusterIPs", []), "may not change once set"))
    if len(old) > len(new) == 1 and after.get("ipFamilyPolicy") != "SingleStack":
        wrong.append(
            invalid(
                "spec.ipFamilyPolicy",
                after.get("ipFamilyPolicy"),
                "must be set to 'SingleStack' when releasing the secondary ipFamily",
            )
        )
    return wrong
