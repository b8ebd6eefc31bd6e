"""How far a Deployment's rollout is: counts, conditions, deadline. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from clusters.controllers.pods import seconds_of, stamp_of

Object = dict[str, Any]
_Told = tuple[str, str, str]  # status, reason, message
_NO_DEADLINE = 2**31 - 1  # seconds: Kubernetes reads the largest number as none
_DONE, _LATE = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"


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
    new_ones = [_condition(held, "Available", available, now, touch=False)]
    if progress is not None:
        touch = progress[1] == "ReplicaSetUpdated" and _moved(held, counts)
        new_ones.append(_condition(held, "Progressing", progress, now, touch=touch))
    status = {name: n for name, n in counts.items() if n}
    status["terminatingReplicas"] = total("terminatingReplicas", mine)
    if "collisionCount" in held:
        status["collisionCount"] = held["collisionCount"]
    return status | {"conditions": _in_order(held, new_ones + _refusals(mine, new))}, again


def _in_order(held: Object, conditions: list[Object]) -> list[Object]:
    """Conditions that say what they said stay where they were, those that changed come last."""
    before = [c for c in held.get("conditions") or () if c in conditions]
    return before + [c for c in conditions if c not in before]


def _refusals(mine: Sequence[Object], new: Object | None) -> list[Object]:
    """The condition of a ReplicaSet whose pods are refused, the new set's before others'."""
    for rs in ([new] if new else []) + list(mine):
        for found in (rs.get("status") or {}).get("conditions") or ():
            if found.get("type") == "ReplicaFailure":
                return [found | {"lastUpdateTime": found.get("lastTransitionTime")}]
    return []


def _moved(held: Object, counts: Object) -> bool:
    """Whether the rollout got further: more updated, ready or available, or fewer old ones."""
    def left(of: Object) -> int:
        return int(of.get("replicas", 0)) - int(of.get("updatedReplicas", 0))

    names = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return left(counts) < left(held) or any(counts[name] > held.get(name, 0) for name in names)


def _progress(
    deployment: Object, counts: Object, new: Object | None, now: float,
) -> tuple[_Told | None, float | None]:
    """The Progressing condition (None: there is none), and seconds until it may be late."""
    held, deadline = deployment.get("status") or {}, deployment["spec"].get("progressDeadlineSeconds", 600)
    before: Object = next((c for c in held.get("conditions") or () if c.get("type") == "Progressing"), {})
    if deadline == _NO_DEADLINE:
        return None, None
    told = (before.get("status", ""), before.get("reason", ""), before.get("message", ""))
    found = _paused(deployment, told) or _advanced(deployment, counts, new, told)
    if found is None and (new is None or told[1] in (_DONE, _LATE)):
        return (told if before else None), None
    if found is not None:
        return found, None if found[1] in (_DONE, "DeploymentPaused") else float(deadline)
    left = seconds_of(before.get("lastUpdateTime")) + deadline - now
    if left > 0 or new is None:
        return told, left
    return ("False", _LATE, f'ReplicaSet "{new["metadata"]["name"]}" has timed out progressing.'), None


def _paused(deployment: Object, told: _Told) -> _Told | None:
    """What a pause or its end makes of the condition: nobody may call a paused rollout late."""
    if told[1] == _LATE:
        return None
    if deployment["spec"].get("paused"):
        return "Unknown", "DeploymentPaused", "Deployment is paused"
    resumed = told[1] == "DeploymentPaused"
    return ("Unknown", "DeploymentResumed", "Deployment is resumed") if resumed else None


def _advanced(deployment: Object, counts: Object, new: Object | None, told: _Told) -> _Told | None:
    """What the condition says of a rollout that begins, moves or is done; None: of none of these."""
    replicas, name = size(deployment), new["metadata"]["name"] if new else ""
    who = f'ReplicaSet "{name}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    if told[1] == _DONE and counts["replicas"] == counts["updatedReplicas"]:
        return told  # a finished rollout that lost a pod is neither moving nor late
    if new and all(counts[part] == replicas for part in ("updatedReplicas", "replicas", "availableReplicas")):
        return "True", _DONE, f"{who} has successfully progressed."
    if _moved(deployment.get("status") or {}, counts):
        return "True", "ReplicaSetUpdated", f"{who} is progressing."
    if new and (not told[1] or (told[1] in (_DONE, _LATE) and f'"{name}"' not in told[2])):
        if new["metadata"].get("generation", 1) > 1:
            return "True", "ReplicaSetUpdated", f"{who} is progressing."
        return "True", "NewReplicaSetCreated", f'Created new replica set "{name}"'
    return None


def _condition(held: Object, kind: str, wanted: tuple[str, str, str], now: float, *, touch: bool) -> Object:
    """The condition with its times: they move only when it says something new, or (``touch``) on progress."""
    status, reason, message = wanted
    before: Object = next((c for c in held.get("conditions") or () if c.get("type") == kind), {})
    if not touch and (before.get("status"), before.get("reason"), before.get("message")) == wanted:
        return before
    turned = before.get("lastTransitionTime") if before.get("status") == status else None
    return {"type": kind, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": stamp_of(now), "lastTransitionTime": turned or stamp_of(now)}
