"""Pod → node: which nodes may hold it, and which of them does. Pure.

Resource requests, preemption and preferences are left out: pods here are processes that cost nothing to hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.controllers.cache import controller_of
from clusters.controllers.pods import condition, is_active, is_finished, is_true, matches, satisfies

Object = dict[str, Any]

# The seed post's own places: (namespace, start of the pod's name) → positions among the nodes, in order.
SEED_PLACES: dict[tuple[str, str], tuple[int, ...]] = {
    ("default", "nextcloud-dev-"): (0, 1),
    ("default", "debian-bash"): (1,),
}


@dataclass(frozen=True)
class Placement:
    """The node a pod goes to, or (node None) the sentence that says why none can take it."""

    node: str | None
    message: str = ""


def is_waiting(pod: Object) -> bool:
    """Whether this scheduler has to place the pod."""
    spec = pod.get("spec") or {}
    return (not spec.get("nodeName") and is_active(pod) and not spec.get("schedulingGates")
            and spec.get("schedulerName", "default-scheduler") == "default-scheduler")


def choose(pod: Object, nodes: Sequence[Object], pods: Sequence[Object], *, seed: bool = False) -> Placement:
    """The node for ``pod``: fewest pods of the same owner, then fewest pods, then node order.

    ``nodes`` are in the cluster's order; ``pods`` all pods there are; ``seed`` prefers the post's places.
    """
    placed = [other for other in pods if (other.get("spec") or {}).get("nodeName") and not is_finished(other)]
    fitting, refusals = [], Counter[str]()
    for index, node in enumerate(nodes):
        if reason := refusal(pod, node, nodes, placed):
            refusals[reason] += 1
        else:
            fitting.append((index, node))
    if not fitting:
        if not nodes:
            return Placement(None, "no nodes available to schedule pods")
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(refusals.items()))
        return Placement(None, f"0/{len(nodes)} nodes are available: {reasons}.")
    total = Counter(other["spec"]["nodeName"] for other in placed if is_active(other))
    owner = (controller_of(pod) or {}).get("uid")
    same = Counter(other["spec"]["nodeName"] for other in placed
                   if owner and is_active(other) and (controller_of(other) or {}).get("uid") == owner)
    favoured = _favoured(pod) if seed else ()

    def rank(entry: tuple[int, Object]) -> tuple[Any, ...]:
        index, name = entry[0], entry[1]["metadata"]["name"]
        liked = favoured.index(index) if index in favoured else len(favoured)
        return same[name], liked, total[name], index

    return Placement(min(fitting, key=rank)[1]["metadata"]["name"])


def _favoured(pod: Object) -> tuple[int, ...]:
    meta = pod["metadata"]
    for (namespace, start), places in SEED_PLACES.items():
        if meta.get("namespace") == namespace and meta["name"].startswith(start):
            return places
    return ()


def refusal(pod: Object, node: Object, nodes: Sequence[Object], placed: Sequence[Object]) -> str:
    """Why ``node`` cannot take ``pod``, in the scheduler's words; empty when it can."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    if not is_true(node, "Ready"):
        return "node(s) were not ready"
    if (node.get("spec") or {}).get("unschedulable") and not is_tolerated(
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, tolerations):
        return "node(s) were unschedulable"
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not is_tolerated(taint, tolerations):
            return f"node(s) had untolerated taint {{{taint.get('key')}: {taint.get('value', '')}}}"
    if not is_selected(pod, node):
        return "node(s) didn't match Pod's node affinity/selector"
    if _port_taken(pod, node, placed):
        return "node(s) didn't have free ports for the requested pod ports"
    return _affinity_refusal(pod, node, nodes, placed)


def taints_of(node: Object) -> list[Object]:
    """A node's taints, and those its conditions stand for (TaintNodesByCondition)."""
    spec, prefix = node.get("spec") or {}, "node.kubernetes.io/"
    found = list(spec.get("taints") or ())
    if not is_true(node, "Ready"):
        unknown = (condition(node, "Ready") or {}).get("status") == "Unknown"
        found.append({"key": prefix + ("unreachable" if unknown else "not-ready"), "effect": "NoSchedule"})
    if spec.get("unschedulable"):
        found.append({"key": prefix + "unschedulable", "effect": "NoSchedule"})
    return found


def is_tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    """Whether one of the tolerations is for this taint."""
    for toleration in tolerations:
        if toleration.get("effect") not in (None, "", taint.get("effect")):
            continue
        if toleration.get("operator", "Equal") == "Exists":
            if toleration.get("key") in (None, "", taint.get("key")):
                return True
        elif (toleration.get("key") == taint.get("key")
              and toleration.get("value", "") == taint.get("value", "")):
            return True
    return False


def is_selected(pod: Object, node: Object) -> bool:
    """nodeSelector, and the required terms of nodeAffinity: any term, every rule of it."""
    spec, labels = pod.get("spec") or {}, node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = _required(pod, "nodeAffinity")
    if not isinstance(required, dict):
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        (term.get("matchExpressions") or term.get("matchFields"))
        and all(satisfies(rule, labels) for rule in term.get("matchExpressions") or ())
        and all(satisfies(rule, fields) for rule in term.get("matchFields") or ())
        for term in required.get("nodeSelectorTerms") or ())


def _required(pod: Object, kind: str) -> Any:
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get(kind) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution")


def _host_ports(pod: Object) -> set[tuple[str, int]]:
    spec = pod.get("spec") or {}
    return {(port.get("protocol", "TCP"), port["hostPort"])
            for container in spec.get("containers") or () for port in container.get("ports") or ()
            if port.get("hostPort")}


def _port_taken(pod: Object, node: Object, placed: Sequence[Object]) -> bool:
    wanted, name = _host_ports(pod), node["metadata"]["name"]
    return bool(wanted) and any(
        wanted & _host_ports(other) for other in placed if other["spec"]["nodeName"] == name)


def _affinity_refusal(pod: Object, node: Object, nodes: Sequence[Object], placed: Sequence[Object]) -> str:
    """Required podAffinity and podAntiAffinity, in the pod's own namespace or those named."""
    def near(term: Object) -> list[Object]:
        domain = _same_domain(node, nodes, term.get("topologyKey", ""))
        spaces = term.get("namespaces") or [pod["metadata"].get("namespace")]
        return [other for other in placed if domain(other["spec"]["nodeName"])
                and other["metadata"].get("namespace") in spaces
                and matches(term.get("labelSelector"), other["metadata"].get("labels"))]

    if any(near(term) for term in _required(pod, "podAntiAffinity") or ()):
        return "node(s) didn't match pod anti-affinity rules"
    for term in _required(pod, "podAffinity") or ():
        # The first of a group that wants to be together has nobody to be near: it may go anywhere.
        first = matches(term.get("labelSelector"), pod["metadata"].get("labels")) and not any(
            matches(term.get("labelSelector"), other["metadata"].get("labels")) for other in placed)
        if not near(term) and not first:
            return "node(s) didn't match pod affinity rules"
    return ""


def _same_domain(node: Object, nodes: Sequence[Object], key: str) -> Callable[[str], bool]:
    value = (node["metadata"].get("labels") or {}).get(key)
    if key == "kubernetes.io/hostname" or value is None:
        names = {node["metadata"]["name"]}
    else:
        names = {other["metadata"]["name"] for other in nodes
                 if (other["metadata"].get("labels") or {}).get(key) == value}
    return names.__contains__
