"""What a node's state means for itself and for its pods. Pure.

Rules: the node life-cycle controller marks the pods of a node that is not ready as not ready (so they leave
the ready endpoints), and the pod garbage collector removes the pods of a node that is no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clusters.controllers.pods import condition, is_ready, is_true, stamp_of
from clusters.controllers.scheduler import is_tolerated

Object = dict[str, Any]


def silent_status(node: Object, now: float) -> Object | None:
    """The status of a node whose heartbeat stayed away: Ready Unknown. None when it says so already.

    Rule: Kubernetes' "Nodes, heartbeats"; ``now`` is seconds since 1970.
    """
    ready = condition(node, "Ready")
    if ready is None or ready.get("status") == "Unknown":
        return None
    unknown = {"status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": stamp_of(now),
               "message": "Kubelet stopped posting node status."}
    status: Object = dict(node["status"])
    status["conditions"] = [c | unknown if c.get("type") == "Ready" else c for c in status["conditions"]]
    return status


def pods_to_unready(node: Object, pods: Sequence[Object]) -> list[Object]:
    """The ready pods of a node that says of itself that it is not ready."""
    name = node["metadata"]["name"]
    if condition(node, "Ready") is None or is_true(node, "Ready"):
        return []
    return [pod for pod in pods if (pod.get("spec") or {}).get("nodeName") == name and is_ready(pod)]


def unready_status(pod: Object, now: float) -> Object:
    """The status patch that takes the pod's readiness away; ``now`` is seconds since 1970."""
    conditions = [
        c if c.get("type") != "Ready" else
        c | {"status": "False", "reason": "NodeNotReady", "lastTransitionTime": stamp_of(now)}
        for c in (pod.get("status") or {}).get("conditions") or ()]
    return {"status": {"conditions": conditions}}


def pods_without_node(name: str, pods: Sequence[Object]) -> list[Object]:
    """The pods bound to a node that does not exist any more."""
    return [pod for pod in pods if (pod.get("spec") or {}).get("nodeName") == name]


_PREFIX = "node.kubernetes.io/"
_OURS = frozenset(_PREFIX + name for name in ("not-ready", "unreachable", "unschedulable"))


def taints_due(node: Object, now: float) -> list[Object] | None:
    """The taints a node must have for its condition and for being cordoned; None: it has them.

    Rule: TaintNodesByCondition and taint-based eviction; ``now`` is seconds since 1970.
    """
    held = (node.get("spec") or {}).get("taints") or []
    due = []
    ready = condition(node, "Ready")
    if ready is not None and ready.get("status") != "True":
        key = _PREFIX + ("unreachable" if ready.get("status") == "Unknown" else "not-ready")
        due += [(key, "NoSchedule"), (key, "NoExecute")]
    if (node.get("spec") or {}).get("unschedulable"):
        due.append((_PREFIX + "unschedulable", "NoSchedule"))
    before = {(taint["key"], taint.get("effect")): taint for taint in held}
    wanted = [taint for taint in held if taint["key"] not in _OURS or (taint["key"], taint["effect"]) in due]
    wanted += [{"key": key, "effect": effect, "timeAdded": stamp_of(now)}
               for key, effect in due if (key, effect) not in before]
    return None if wanted == held else wanted


def stays_until(pod: Object, taints: Sequence[Object]) -> float | None:
    """How many seconds a pod bears the NoExecute taints of its node; None: for ever."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    seconds: list[float] = []
    for taint in taints:
        if taint.get("effect") != "NoExecute":
            continue
        fitting = [t for t in tolerations if is_tolerated(taint, [t])]
        if not fitting:
            return 0.0
        seconds += [max(0.0, float(t["tolerationSeconds"])) for t in fitting
                    if t.get("tolerationSeconds") is not None]
    return min(seconds, default=None)
