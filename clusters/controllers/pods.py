"""What the controllers ask about a pod: owner, readiness, whether it still counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


def condition(item: Object, kind: str) -> Object | None:
    """The status condition ``kind`` of an object, or None."""
    for found in (item.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            given: Object = found
            return given
    return None


def is_true(item: Object, kind: str) -> bool:
    """Whether the status condition ``kind`` is there and True."""
    found = condition(item, kind)
    return found is not None and found.get("status") == "True"


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is True."""
    return is_true(pod, "Ready")


def is_terminating(item: Object) -> bool:
    """Whether the object has been asked to go."""
    return bool(item["metadata"].get("deletionTimestamp"))


def is_finished(pod: Object) -> bool:
    """Whether all of the pod's programs have ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether the pod counts as a replica: neither ended nor going."""
    return not is_finished(pod) and not is_terminating(pod)


def seconds_of(stamp: str | None) -> float:
    """An RFC 3339 time as seconds since 1970; 0 when there is none or it is not one."""
    if not stamp:
        return 0.0
    try:
        return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def stamp_of(seconds: float) -> str:
    """Seconds since 1970 as the API writes times: whole seconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def available_at(pod: Object, min_ready_seconds: float) -> float | None:
    """When (seconds since 1970) a pod counts as available; None when it is not ready.

    Rule: Deployment and ReplicaSet API reference, ``minReadySeconds``.
    """
    found = condition(pod, "Ready")
    if found is None or found.get("status") != "True":
        return None
    return seconds_of(found.get("lastTransitionTime")) + min_ready_seconds if min_ready_seconds else 0.0


def matches(selector: Object | None, labels: Object | None) -> bool:
    """Whether a LabelSelector (matchLabels and matchExpressions) selects ``labels``; an empty one never does.

    Never, though the API's empty selector means everything: a ReplicaSet must not adopt a whole namespace.
    """
    selector, labels = selector or {}, labels or {}
    wanted, rules = selector.get("matchLabels") or {}, selector.get("matchExpressions") or ()
    if not wanted and not rules:
        return False
    return all(labels.get(name) == value for name, value in wanted.items()) and all(
        satisfies(rule, labels) for rule in rules)


def satisfies(rule: Object, labels: Object) -> bool:
    """Whether ``labels`` satisfy one ``{key, operator, values}`` rule of a label or node selector."""
    value, values, operator = labels.get(rule.get("key", "")), rule.get("values") or (), rule.get("operator")
    if operator in ("Gt", "Lt"):
        try:
            difference = int(str(value)) - int(str(next(iter(values), "")))
        except ValueError:
            return False
        return difference > 0 if operator == "Gt" else difference < 0
    answers = {
        "In": value in values, "NotIn": value not in values,
        "Exists": value is not None, "DoesNotExist": value is None,
    }
    return answers.get(str(operator), False)
