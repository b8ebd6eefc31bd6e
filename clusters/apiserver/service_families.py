"""Which IP families a Service gets, from its policy, its addresses and the cluster's families. Pure.

Rules and words: ``initIPFamilyFields`` in ``pkg/registry/core/service/storage``, Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Sequence

from clusters.apiserver.service_fields import HEADLESS, Spec, family
from clusters.apiserver.service_validation import cluster_ip_errors
from clusters.apiserver.status import FieldError, invalid

SINGLE, REQUIRE = "SingleStack", "RequireDualStack"


def keeps_dual_preference(new: Spec, old: Spec | None) -> bool:
    """True when an update leaves a PreferDualStack Service as it is, whatever the cluster has become."""
    if old is None or "ipFamilyPolicy" not in new or old["type"] != new["type"]:
        return False
    if new["type"] not in {"ClusterIP", "NodePort", "LoadBalancer"}:
        return False
    if (
        new["ipFamilyPolicy"] != "PreferDualStack"
        or old.get("ipFamilyPolicy", "PreferDualStack") != "PreferDualStack"
    ):
        return False
    return _list(new, "clusterIPs") == _list(old, "clusterIPs") and _list(new, "ipFamilies") == _list(
        old, "ipFamilies"
    )


def _list(spec: Spec, field: str) -> list[str]:
    return list(spec.get(field, ()))


def settle_families(new: Spec, old: Spec | None, cluster: Sequence[str]) -> list[FieldError]:
    """Sets ipFamilyPolicy and ipFamilies where they are left out; gives what forbids it (then allocation
    stops).

    ``cluster`` are the families of the Service networks, the primary one first.
    """
    if new["type"] == "ExternalName" or keeps_dual_preference(new, old):
        return []
    _settle_policy(new, old)
    wrong = cluster_ip_errors(new) or _check_change(new, old) + _families_of_addresses(new, cluster)
    if wrong:
        return wrong
    if new.get("clusterIP") == HEADLESS and not new.get("selector"):
        # Endpoints of such a Service are written by hand, so both families are allowed on any cluster.
        new.setdefault("ipFamilies", [cluster[0]])
        _add_second_family(new)
        return []
    return _settle_against_cluster(new, cluster)


def _settle_policy(new: Spec, old: Spec | None) -> None:
    if "ipFamilyPolicy" in new:
        return
    if old is not None and "ipFamilyPolicy" in old:
        new["ipFamilyPolicy"] = old["ipFamilyPolicy"]
    elif new.get("clusterIP") == HEADLESS and not new.get("selector"):
        new["ipFamilyPolicy"] = REQUIRE
    else:
        new["ipFamilyPolicy"] = SINGLE


def _check_change(new: Spec, old: Spec | None) -> list[FieldError]:
    policy, field, wrong = new["ipFamilyPolicy"], "spec.ipFamilyPolicy", []
    for name, thing in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        have, had = _list(new, name), _list(old or {}, name)
        if old is None:
            continue
        if policy == SINGLE:
            if have == had and len(have) > 1:
                new[name] = have[:1]
        elif have and len(have) < len(had):
            wrong.append(invalid(field, policy, f"must be 'SingleStack' to release the secondary {thing}"))
    if policy == SINGLE:
        for name, thing in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
            if len(_list(new, name)) == 2:
                wrong.append(
                    invalid(
                        field,
                        policy,
                        "must be 'RequireDualStack' or 'PreferDualStack' when multiple "
                        f"{thing} are specified",
                    )
                )
    return wrong


def _families_of_addresses(new: Spec, cluster: Sequence[str]) -> list[FieldError]:
    wrong = []
    for index, address in enumerate(_list(new, "clusterIPs")):
        if address == HEADLESS:
            break
        if index >= len(_list(new, "ipFamilies")):
            found = family(address)
            if found in cluster:
                new["ipFamilies"] = [*_list(new, "ipFamilies"), found]
            else:
                wrong.append(
                    invalid(
                        f"spec.clusterIPs[{index}]",
                        new["clusterIPs"],
                        f"{found} is not configured on this cluster",
                    )
                )
    return wrong


def _settle_against_cluster(new: Spec, cluster: Sequence[str]) -> list[FieldError]:
    wrong = []
    if new["ipFamilyPolicy"] == REQUIRE and len(cluster) < 2:
        wrong.append(
            invalid("spec.ipFamilyPolicy", REQUIRE, "this cluster is not configured for dual-stack services")
        )
    wrong += [
        invalid(f"spec.ipFamilies[{index}]", name, "not configured on this cluster")
        for index, name in enumerate(_list(new, "ipFamilies"))
        if name not in cluster
    ]
    if wrong:
        return wrong
    if not new.get("ipFamilies"):
        new["ipFamilies"] = [cluster[0]]
    if len(cluster) == 2:
        _add_second_family(new)
    return []


def _add_second_family(new: Spec) -> None:
    families = new["ipFamilies"]
    if new["ipFamilyPolicy"] != SINGLE and len(families) == 1:
        new["ipFamilies"] = [families[0], "IPv6" if families[0] == "IPv4" else "IPv4"]
