"""How workloads are shown: Deployments, Jobs and their like. Pure; columns of Kubernetes 1.36."""

from __future__ import annotations

from collections.abc import Mapping

from clusters.apiserver.columns import (
    NONE,
    UNKNOWN,
    UNSET,
    Cells,
    Layout,
    Object,
    age,
    boolean,
    columns,
    condition,
    containers,
    human,
    moment,
    name,
    number,
    pairs,
    part,
    selector,
    since,
)


def _deployment(obj: Object, now: float) -> Cells:
    spec = part(obj, "spec")
    return [
        name(obj),
        f"{number(obj, 'status', 'readyReplicas')}/{number(spec, 'replicas')}",
        number(obj, "status", "updatedReplicas"),
        number(obj, "status", "availableReplicas"),
        age(obj, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


def _replica_set(obj: Object, now: float) -> Cells:
    spec = part(obj, "spec")
    chosen = spec.get("selector")
    # A ReplicationController's selector is the labels themselves, which have no fields of their own.
    labels = isinstance(chosen, Mapping) and all(isinstance(value, str) for value in chosen.values())
    return [
        name(obj),
        number(spec, "replicas"),
        number(obj, "status", "replicas"),
        number(obj, "status", "readyReplicas"),
        age(obj, now),
        *containers(spec.get("template")),
        pairs(chosen) if labels else selector(chosen),
    ]


def _daemon_set(obj: Object, now: float) -> Cells:
    spec, status = part(obj, "spec"), part(obj, "status")
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    return [
        name(obj),
        *(number(status, count) for count in counts),
        pairs(part(spec, "template", "spec").get("nodeSelector")),
        age(obj, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


def _stateful_set(obj: Object, now: float) -> Cells:
    spec = part(obj, "spec")
    ready = f"{number(obj, 'status', 'readyReplicas')}/{number(spec, 'replicas')}"
    return [name(obj), ready, age(obj, now), *containers(spec.get("template"))]


def _job_status(obj: Object) -> str:
    for kind in ("Complete", "Failed"):
        if condition(obj, kind) == "True":
            return kind
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if condition(obj, kind) == "True":
            return kind
    return "Running"


def _job(obj: Object, now: float) -> Cells:
    spec, status = part(obj, "spec"), part(obj, "status")
    done = number(status, "succeeded")
    if "completions" in spec:
        completions = f"{done}/{spec['completions']}"
    elif number(spec, "parallelism") > 1:
        completions = f"{done}/1 of {spec['parallelism']}"
    else:
        completions = f"{done}/1"
    begun, ended = moment(status.get("startTime")), moment(status.get("completionTime"))
    duration = "" if begun is None else human((now if ended is None else ended) - begun)
    return [
        name(obj),
        _job_status(obj),
        completions,
        duration,
        age(obj, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


def _cron_job(obj: Object, now: float) -> Cells:
    spec, status = part(obj, "spec"), part(obj, "status")
    inner = part(spec, "jobTemplate", "spec")
    return [
        name(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        boolean(spec.get("suspend")),
        len(status.get("active") or ()),
        since(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else NONE,
        age(obj, now),
        *containers(inner.get("template")),
        selector(inner.get("selector")),
    ]


def _target(spec: Object, now: Object, kind: str) -> str:
    """One metric of an autoscaler: how it is and how it should be."""
    wanted, have = part(spec, "target"), part(now, "current")
    if "averageUtilization" in wanted:
        current = f"{have['averageUtilization']}%" if "averageUtilization" in have else UNKNOWN
        return f"{kind}{current}/{wanted['averageUtilization']}%"
    field, suffix = ("averageValue", " (avg)") if "averageValue" in wanted else ("value", "")
    shown = suffix if not kind else ""
    return f"{kind}{have.get(field) or UNKNOWN}/{wanted.get(field, '<auto>')}{shown}"


_METRICS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _autoscaler(obj: Object, now: float) -> Cells:
    spec, status = part(obj, "spec"), part(obj, "status")
    to, told = part(spec, "scaleTargetRef"), status.get("currentMetrics") or []
    targets = []
    for index, metric in enumerate(spec.get("metrics") or ()):
        field = _METRICS.get(metric.get("type"), "resource")
        source = part(metric, field)
        have = part(told[index], field) if index < len(told) else {}
        label = f"{source.get('name')}: " if "esource" in field else ""
        targets.append(_target(source, have, label))
    return [
        name(obj),
        f"{to.get('kind', '')}/{to.get('name', '')}",
        ", ".join(targets) or NONE,
        str(spec.get("minReplicas", UNSET)),
        number(spec, "maxReplicas"),
        number(status, "currentReplicas"),
        age(obj, now),
    ]


def _revision(obj: Object, now: float) -> Cells:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    shown = NONE
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        shown = f"{owner.get('kind', '').lower()}.{group}/{owner.get('name', '')}"
    return [name(obj), shown, number(obj, "revision"), age(obj, now)]


_REPLICAS = columns("Name, Desired#, Current#, Ready#, Age, Containers*, Images*, Selector*")

LAYOUTS = {
    "Deployment": Layout(
        columns("Name, Ready, Up-to-date#, Available#, Age, Containers*, Images*, Selector*"), _deployment
    ),
    "ReplicaSet": Layout(_REPLICAS, _replica_set),
    "ReplicationController": Layout(_REPLICAS, _replica_set),
    "DaemonSet": Layout(
        columns(
            "Name, Desired#, Current#, Ready#, Up-to-date#, Available#, Node Selector, Age, Containers*, "
            "Images*, Selector*"
        ),
        _daemon_set,
    ),
    "StatefulSet": Layout(columns("Name, Ready, Age, Containers*, Images*"), _stateful_set),
    "Job": Layout(columns("Name, Status, Completions, Duration, Age, Containers*, Images*, Selector*"), _job),
    "CronJob": Layout(
        columns(
            "Name, Schedule, Timezone, Suspend, Active#, Last Schedule, Age, Containers*, Images*, Selector*"
        ),
        _cron_job,
    ),
    "HorizontalPodAutoscaler": Layout(
        columns("Name, Reference, Targets, MinPods, MaxPods#, Replicas#, Age"), _autoscaler
    ),
    "ControllerRevision": Layout(columns("Name, Controller, Revision#, Age"), _revision),
}
