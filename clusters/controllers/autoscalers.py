"""HorizontalPodAutoscaler → replicas of its target, within its bounds; and the status. Pure.

This cluster measures nothing (its metrics-server is a stand-in), so that every metric is unknown: the bounds
are kept, and the conditions say why nothing else happens. Words: ``pkg/controller/podautoscaler``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clusters.controllers.deployment_status import size
from clusters.controllers.pods import stamp_of

Object = dict[str, Any]
_NO_METRICS = ("unable to get metrics for resource {}: unable to fetch metrics from resource metrics API: "
               "the server could not find the requested resource (get pods.metrics.k8s.io)")
_INVALID = ("invalid metrics ({0} invalid out of {0}), first error is: failed to get {1} resource metric "
            "value: ")


@dataclass(frozen=True)
class Plan:
    """What one autoscaler needs now."""

    replicas: int | None = None  # the new size of the target
    why: str = ""
    status: Object | None = None
    trouble: Sequence[tuple[str, str]] = ()  # warnings: reason, message


def plan(scaler: Object, target: Object | None, now: float) -> Plan:
    """Decide for one autoscaler; ``target`` is what it scales, None where that is not there."""
    spec, held = scaler["spec"], scaler.get("status") or {}
    if target is None:
        to = spec["scaleTargetRef"]
        kind = f"{to['kind'].lower()}s"
        group = to.get("apiVersion", "").rpartition("/")[0]
        what = f'{kind}{"." + group if group else ""} "{to["name"]}" not found'
        words = f"the HPA controller was unable to get the target's current scale: {what}"
        status = _status(held, now, [("AbleToScale", "False", "FailedGetScale", words)])
        return _plan(held, status, trouble=[("FailedGetScale", what)])
    have, least, most = size(target), spec.get("minReplicas", 1), spec["maxReplicas"]
    able = ("AbleToScale", "True", "SucceededGetScale",
            "the HPA controller was able to get the target's current scale")
    if have == 0:
        off = ("ScalingActive", "False", "ScalingDisabled",
               "scaling is disabled since the replica count of the target is zero")
        return _plan(held, _status(held, now, [able, off], have, 0))
    wanted = min(max(have, least), most)
    if wanted != have:
        side = "above Spec.MaxReplicas" if have > most else "below Spec.MinReplicas"
        done = ("AbleToScale", "True", "SucceededRescale",
                f"the HPA controller was able to update the target scale to {wanted}")
        status = _status(held, now, [done], have, wanted) | {"lastScaleTime": stamp_of(now)}
        return _plan(held, status, wanted, f"Current number of replicas {side}")
    names = [(m.get("resource") or {}).get("name", "cpu") for m in spec.get("metrics") or ()]
    name = names[0] if names else "cpu"
    why = f"failed to get {name} utilization: " + _NO_METRICS.format(name)
    active = ("ScalingActive", "False", "FailedGetResourceMetric",
              f"the HPA was unable to compute the replica count: {why}")
    status = _status(held, now, [able, active], have, held.get("desiredReplicas", 0))
    status["currentMetrics"] = [{"type": ""} for _ in names or [name]]
    words = _INVALID.format(len(names), name) + why
    return _plan(held, status, trouble=[
        ("FailedGetResourceMetric", why), ("FailedComputeMetricsReplicas", words)])


def _plan(
    held: Object, status: Object, replicas: int | None = None, why: str = "",
    trouble: Sequence[tuple[str, str]] = (),
) -> Plan:
    if status == held:
        return Plan(replicas, why)
    return Plan(replicas, why, status, trouble)


def _status(
    held: Object, now: float, told: list[tuple[str, str, str, str]], have: int | None = None,
    desired: int | None = None,
) -> Object:
    status = {name: held[name] for name in ("lastScaleTime",) if name in held}
    status["currentReplicas"] = held.get("currentReplicas", 0) if have is None else have
    status["desiredReplicas"] = held.get("desiredReplicas", 0) if desired is None else desired
    before = {c["type"]: c for c in held.get("conditions") or ()}
    for kind, state, reason, message in told:
        old = before.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == state else stamp_of(now)
        before[kind] = {"type": kind, "status": state, "reason": reason, "message": message,
                        "lastTransitionTime": since}
    status["conditions"] = list(before.values())
    return status
