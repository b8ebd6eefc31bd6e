"""DaemonSet → pods: one on each node it may run on, replaced as its template changes; and the status. Pure.

Rules: ``pkg/controller/daemon`` of Kubernetes 1.36.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.controllers.history import HASH_LABEL
from clusters.controllers.podcontrol import pod_from
from clusters.controllers.pods import (
    available_at,
    is_finished,
    is_ready,
    is_terminating,
    seconds_of,
)
from clusters.controllers.scheduler import is_selected, is_tolerated, taints_of

Object = dict[str, Any]
_GENERATION = "pod-template-generation"
_GENERATION_NOTE = "deprecated.daemonset.template.generation"
# Trouble of a node that does not end a daemon: key, effect.
_TOLERATED = (
    ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
)


@dataclass
class Plan:
    """What one DaemonSet needs now. ``tell``: events, as reason, message and kind."""

    create: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    tell: list[tuple[str, str, str]] = field(default_factory=list)
    status: Object | None = None
    again: float | None = None


def pod_for(owner: Object, node: str, mark: str) -> Object:
    """The pod of a DaemonSet for one node, which the scheduler may put nowhere else."""
    template = copy.deepcopy(owner["spec"]["template"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[HASH_LABEL] = mark
    if generation := (owner["metadata"].get("annotations") or {}).get(_GENERATION_NOTE):
        labels[_GENERATION] = generation
    spec = template["spec"]
    spec["tolerations"] = _tolerations(spec)
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [{**term, **here} for term in terms]
    return pod_from(owner, template)


def _tolerations(spec: Object) -> list[Object]:
    network = [("network-unavailable", "NoSchedule")] if spec.get("hostNetwork") else []
    added = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
             for key, effect in [*_TOLERATED, *network]]
    return [*(each for each in spec.get("tolerations") or () if each not in added), *added]


def node_of(pod: Object) -> str:
    """The node a daemon's pod is on, or is for."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for rule in term.get("matchFields") or ():
            if rule.get("key") == "metadata.name" and rule.get("values"):
                return str(rule["values"][0])
    return ""


def may_run(owner: Object, node: Object) -> tuple[bool, bool]:
    """Whether a pod of the DaemonSet starts on a node, and whether one that is there stays."""
    spec = owner["spec"]["template"]["spec"]
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]):
        return False, False
    if not is_selected({"spec": spec}, node):
        return False, False
    tolerations = _tolerations(spec)
    bad = [t for t in taints_of(node) if not is_tolerated(t, tolerations)]
    return not [t for t in bad if t.get("effect") in ("NoSchedule", "NoExecute")], \
        not [t for t in bad if t.get("effect") == "NoExecute"]


def plan(owner: Object, pods: Sequence[Object], nodes: Sequence[Object], mark: str, now: float) -> Plan:
    """Decide for one DaemonSet; ``pods`` are its own, ``mark`` its present revision's hash."""
    found, by_node = Plan(), _by_node(pods)
    wanted = 0
    for node in nodes:
        name = node["metadata"]["name"]
        starts, stays = may_run(owner, node)
        wanted += starts
        there = by_node.pop(name, [])
        if starts and not there:
            found.create.append(pod_for(owner, name, mark))
        elif stays:
            _tidy(found, name, there)
        else:
            found.delete += [pod for pod in there if not is_terminating(pod)]
    for there in by_node.values():  # of nodes that are no more
        found.delete += [pod for pod in there if not is_terminating(pod)]
    if owner["metadata"].get("deletionTimestamp"):
        found = Plan()
    elif not found.create and not found.delete:
        _roll(found, owner, _by_node(pods), wanted, mark, now)
    status, found.again = _status(owner, pods, nodes, mark, now)
    found.status = None if status == (owner.get("status") or {}) else status
    return found


def _by_node(pods: Sequence[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in sorted(pods, key=lambda p: (not (p["spec"].get("nodeName")),
                                           seconds_of(p["metadata"].get("creationTimestamp")),
                                           p["metadata"]["name"])):
        if not (is_finished(pod) and is_terminating(pod)):
            found.setdefault(node_of(pod), []).append(pod)
    return found


def _tidy(found: Plan, node: str, there: list[Object]) -> None:
    """Ended pods make room; of two on one node that are not of an update, the younger goes."""
    running = []
    for pod in there:
        where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']} on node {node}"
        if is_terminating(pod):
            continue
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Failed":
            words = f"Found failed daemon pod {where}, will try to kill it"
            found.tell.append(("FailedDaemonPod", words, "Warning"))
            found.delete.append(pod)
        elif phase == "Succeeded":
            words = f"Found succeeded daemon pod {where}, will try to delete it"
            found.tell.append(("SucceededDaemonPod", words, "Normal"))
            found.delete.append(pod)
        else:
            running.append(pod)
    marks = {pod["metadata"]["labels"].get(HASH_LABEL) for pod in running}
    if len(marks) == 1:
        found.delete += running[1:]


def _count(value: int | str, of: int) -> int:
    text = str(value)
    return math.ceil(int(text[:-1]) * of / 100) if text.endswith("%") else int(text)


def _roll(
    found: Plan, owner: Object, by_node: dict[str, list[Object]], wanted: int, mark: str, now: float,
) -> None:
    """One step of a rolling update: old pods go, within maxUnavailable; or new ones come first (maxSurge)."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return
    rolling = strategy.get("rollingUpdate") or {}
    surge, most = _count(rolling.get("maxSurge", 0), wanted), _count(rolling.get("maxUnavailable", 1), wanted)
    least = float(owner["spec"].get("minReadySeconds") or 0)
    down, surging = 0, 0
    sick, old = [], []
    for node, pods in by_node.items():
        here = [pod for pod in pods if not is_terminating(pod)]
        news = [pod for pod in here if pod["metadata"]["labels"].get(HASH_LABEL) == mark]
        olds = [pod for pod in here if pod not in news]
        up = [pod for pod in here if _is_available(pod, least, now)]
        if not olds:
            down += not up
        elif news:  # both are there: the old one goes when the new one serves, or when it serves no more
            served = any(_is_available(pod, least, now) for pod in news)
            found.delete += [pod for pod in olds if served or not is_ready(pod)]
            surging += not served
        elif up:
            old.append((node, olds[0]))
        else:
            down += 1
            sick.append((node, olds[0]))
    if surge:
        nodes = [node for node, _ in sick] + [node for node, _ in old[:max(0, surge - surging)]]
        found.create += [pod_for(owner, node, mark) for node in nodes]
    else:
        found.delete += [pod for _, pod in [*sick, *old[:max(0, most - down)]]]


def _is_available(pod: Object, least: float, now: float) -> bool:
    at = available_at(pod, least)
    return at is not None and at <= now


def _status(
    owner: Object, pods: Sequence[Object], nodes: Sequence[Object], mark: str, now: float,
) -> tuple[Object, float | None]:
    by_node, least = _by_node(pods), float(owner["spec"].get("minReadySeconds") or 0)
    desired = current = ready = updated = available = stray = 0
    waits: list[float] = []
    for node in nodes:
        there, starts = by_node.get(node["metadata"]["name"], []), may_run(owner, node)[0]
        desired += starts
        if not there or not starts:
            stray += bool(there)
            continue
        pod, at = there[0], available_at(there[0], least)
        current += 1
        ready += is_ready(pod)
        available += at is not None and at <= now
        waits += [at - now] if at is not None and at > now else []
        updated += pod["metadata"]["labels"].get(HASH_LABEL) == mark
    counts = {
        "currentNumberScheduled": current, "numberMisscheduled": stray, "desiredNumberScheduled": desired,
        "numberReady": ready, "observedGeneration": owner["metadata"].get("generation", 0),
        "updatedNumberScheduled": updated, "numberAvailable": available,
        "numberUnavailable": desired - available,
        "collisionCount": (owner.get("status") or {}).get("collisionCount"),
    }
    always = {"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"}
    return {name: n for name, n in counts.items() if n or name in always}, min(waits, default=None)
