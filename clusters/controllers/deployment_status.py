"""How far a Deployment's rollout is: counts, conditions, deadline. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from clusters.controllers.pods import seconds_of, stamp_of

Object = dict[str, Any]


def size(item: Object) -> int:
    """How many replicas a Deployment or ReplicaSet asks for; 1 when it does not say."""
    return int(item["spec"].get("replicas", 1))


def bounds(deployment: Object) -> tuple[int, int]:
    """How many pods above (rounded up) and below (rounded down) ``replicas`` a rolling update may have.

    Rule: API reference, RollingUpdateDeployment: 25 % each by default; both 0 would never move, so one below.
    """
    spec = deployment["spec"]
    replicas = size(deployment)
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = _count(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    below = _count(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    return (surge, below) if surge or below else (0, 1)


def _count(value: int | str, of: int, rounded: Any) -> int:
    text = str(value)
    return int(rounded(int(text[:-1]) * of / 100)) if text.endswith("%") else int(text)


def status_of(
    deployment: Object, mine: Sequence[Object], new: Object | None, now: float,
) -> tuple[Object, float | None]:
    """The status for these ReplicaSets, and seconds until the progress deadline (None when not moving)."""
    def total(name: str, of: Sequence[Object]) -> int:
        return sum((rs.get("status") or {}).get(name, 0) for rs in of)

    held, spec = deployment.get("status") or {}, deployment["spec"]
    replicas, below = size(deployment), bounds(deployment)[1]
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        below = 0
    counts = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": total("replicas", mine), "updatedReplicas": total("replicas", [new] if new else []),
        "readyReplicas": total("readyReplicas", mine), "availableReplicas": total("availableReplicas", mine),
    }
    counts["unavailableReplicas"] = max(
        0, sum(size(rs) for rs in mine) - counts["availableReplicas"])
    enough = counts["availableReplicas"] >= replicas - below
    available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.") if enough else (
        "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    progress, again = _progress(deployment, counts, new, now)
    conditions = [_condition(held, "Available", available, now, touch=False),
                  _condition(held, "Progressing", progress, now, touch=_moved(held, counts))]
    status = {name: n for name, n in counts.items() if n}
    if "collisionCount" in held:
        status["collisionCount"] = held["collisionCount"]
    return status | {"conditions": conditions}, again


def _moved(held: Object, counts: Object) -> bool:
    """Whether the rollout got further: more updated, ready or available, or fewer old ones."""
    def left(of: Object) -> int:
        return int(of.get("replicas", 0)) - int(of.get("updatedReplicas", 0))

    names = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return left(counts) < left(held) or any(counts[name] > held.get(name, 0) for name in names)


def _progress(
    deployment: Object, counts: Object, new: Object | None, now: float,
) -> tuple[tuple[str, str, str], float | None]:
    replicas = size(deployment)
    if new is None:
        name = deployment["metadata"]["name"]
        return ("True", "ReplicaSetUpdated", f'Deployment "{name}" is making its ReplicaSet.'), None
    name = new["metadata"]["name"]
    if all(counts[part] == replicas for part in ("updatedReplicas", "replicas", "availableReplicas")):
        return ("True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.'), None
    held: Object = next((c for c in (deployment.get("status") or {}).get("conditions") or ()
                 if c.get("type") == "Progressing"), {})
    late = (
        "False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')
    moving = ("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    deadline = deployment["spec"].get("progressDeadlineSeconds", 600)
    same_round = (deployment.get("status") or {}).get("observedGeneration") == counts["observedGeneration"]
    if not held or not same_round or _moved(deployment.get("status") or {}, counts):
        return moving, float(deadline)
    if held.get("reason") == "ProgressDeadlineExceeded":
        return late, None
    if held.get("reason") == "NewReplicaSetAvailable":  # a finished rollout that lost a pod is not late
        return ("True", held["reason"], held.get("message", "")), None
    left = seconds_of(held.get("lastUpdateTime")) + deadline - now
    return (late, None) if left <= 0 else (moving, left)


def _condition(held: Object, kind: str, wanted: tuple[str, str, str], now: float, *, touch: bool) -> Object:
    """The condition with its times: they move only when it says something new, or (``touch``) on progress."""
    status, reason, message = wanted
    before: Object = next((c for c in held.get("conditions") or () if c.get("type") == kind), {})
    if not touch and (before.get("status"), before.get("reason"), before.get("message")) == wanted:
        return before
    turned = before.get("lastTransitionTime") if before.get("status") == status else None
    return {"type": kind, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": stamp_of(now), "lastTransitionTime": turned or stamp_of(now)}
