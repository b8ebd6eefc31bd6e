"""``autoscaling/v1`` HorizontalPodAutoscalers as another view of what ``v2`` holds. Pure.

v1 knows one target, the use of the CPU; the rest stands in annotations, so that nothing is lost on the way
through it. Rule: ``pkg/apis/autoscaling/v1/conversion.go`` of Kubernetes 1.36, which writes the metrics
there in the words of v1.
"""

from __future__ import annotations

from typing import Any

import msgspec

Object = dict[str, Any]
_METRICS, _CONDITIONS, _BEHAVIOR = (
    f"autoscaling.alpha.kubernetes.io/{name}" for name in ("metrics", "conditions", "behavior")
)
_CPU = "targetCPUUtilizationPercentage"


def _cpu(metric: Object) -> int | None:
    source = metric.get("resource") or {}
    if metric.get("type") != "Resource" or source.get("name") != "cpu":
        return None
    found: int | None = (source.get("target") or {}).get("averageUtilization")
    return found


def _metric(percentage: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percentage}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def to_v2(value: Object) -> Object:
    """The object of a v1 request in the form that is kept."""
    spec, metadata = dict(value.get("spec") or {}), dict(value.get("metadata") or {})
    notes = dict(metadata.get("annotations") or {})
    others, behavior = notes.pop(_METRICS, ""), notes.pop(_BEHAVIOR, "")
    notes.pop(_CONDITIONS, None)
    metrics = msgspec.json.decode(others) if others else []
    if spec.get(_CPU) is not None:
        metrics.insert(0, _metric(spec[_CPU]))
    spec.pop(_CPU, None)
    if metrics:
        spec["metrics"] = metrics
    if behavior:
        spec["behavior"] = msgspec.json.decode(behavior)
    if "annotations" in metadata:
        metadata["annotations"] = notes
    found = {**value, "metadata": metadata}
    return {**found, "spec": spec} if "spec" in value else found


def to_v1(fields: Object) -> Object:
    """A stored object as v1 shows it."""
    spec, status, metadata = (dict(fields.get(part) or {}) for part in ("spec", "status", "metadata"))
    notes, others = dict(metadata.get("annotations") or {}), []
    for metric in spec.pop("metrics", None) or ():
        percentage = _cpu(metric)
        if percentage is None or _CPU in spec:
            others.append(metric)
        else:
            spec[_CPU] = percentage
    kept = {_METRICS: others, _BEHAVIOR: spec.pop("behavior", None)}
    kept[_CONDITIONS] = status.pop("conditions", None)
    notes |= {name: msgspec.json.encode(value).decode() for name, value in kept.items() if value}
    for metric in status.pop("currentMetrics", None) or ():
        source = metric.get("resource") or {}
        if source.get("name") == "cpu" and "averageUtilization" in (source.get("current") or {}):
            status["currentCPUUtilizationPercentage"] = source["current"]["averageUtilization"]
    if notes:
        metadata["annotations"] = notes
    return {**fields, "metadata": metadata, "spec": spec, "status": status}
