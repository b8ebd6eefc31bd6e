"""CronJob → Jobs: which one is due, which are too many, and the status. Pure.

Rules: ``pkg/controller/cronjob`` of Kubernetes 1.36.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate
from typing import Any

from clusters.controllers.claims import owner_reference
from clusters.controllers.jobs import finished
from clusters.controllers.pods import seconds_of, stamp_of
from clusters.schedules import BadSchedule, Schedule, parse, zone_of

Object = dict[str, Any]
_MANY_MISSED = 100
_SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_AFTER = 0.1  # seconds after the minute at which it is looked at, as in Kubernetes


@dataclass
class Plan:
    """What one CronJob needs now. ``tell``: events, as reason, message and kind."""

    create: Object | None = None
    due: float = 0.0  # the time ``create`` is for
    replace: list[Object] = field(default_factory=list)  # Jobs that make way for it
    delete: list[Object] = field(default_factory=list)  # finished Jobs beyond the limits
    tell: list[tuple[str, str, str]] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    again: float | None = None  # seconds until the next time


def plan(cron: Object, jobs: Sequence[Object], now: float) -> Plan:
    """Decide for one CronJob; ``jobs`` are its own, ``now`` seconds since 1970."""
    spec, found = cron["spec"], Plan(status=copy.deepcopy(cron.get("status") or {}))
    _look_back(jobs, found)
    _surplus(found, jobs, spec)
    if cron["metadata"].get("deletionTimestamp"):
        return found
    try:
        zone = zone_of(spec.get("timeZone") or "")
    except BadSchedule as wrong:
        words = f'invalid timeZone: "{spec.get("timeZone")}": {wrong}'
        found.tell.append(("UnknownTimeZone", words, "Warning"))
        return found
    if spec.get("suspend"):
        return found
    try:
        schedule = parse(spec["schedule"])
    except BadSchedule as wrong:
        words = f'unparseable schedule: "{spec["schedule"]}" : {wrong}'
        found.tell.append(("UnparseableSchedule", words, "Warning"))
        return found
    coming = schedule.next(now, zone)
    found.again = None if coming is None else coming - now + _AFTER
    due, missed = latest(cron, schedule, now)
    if missed > _MANY_MISSED:
        found.tell.append(("TooManyMissedTimes", "too many missed start times. Set or decrease "
                           ".spec.startingDeadlineSeconds or check clock skew", "Warning"))
    if due is not None:
        _start(found, cron, jobs, due, now)
    return found


def latest(cron: Object, schedule: Schedule, now: float) -> tuple[float | None, int]:
    """The last time that was due and has not been acted on, and how many there were."""
    spec, held = cron["spec"], cron.get("status") or {}
    earliest = seconds_of(held.get("lastScheduleTime") or cron["metadata"].get("creationTimestamp"))
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None:
        earliest = max(earliest, now - deadline)
    zone = zone_of(spec.get("timeZone") or "")
    first = schedule.next(earliest, zone)
    if first is None or first > now:
        return None, 0
    second = schedule.next(first, zone)
    if second is None or second > now:
        return first, 1
    missed = int((now - first) // max(1.0, second - first)) + 1
    at, last = max(first, first + (missed - 2) * (second - first)), first
    while (following := schedule.next(at, zone)) is not None and following <= now:
        at = last = following
    return last, missed


def _look_back(jobs: Sequence[Object], found: Plan) -> None:
    """Take Jobs that ended or are gone off the list of active ones."""
    status, by_uid = found.status, {job["metadata"]["uid"]: job for job in jobs}
    kept = []
    for ref in status.get("active") or ():
        job = by_uid.get(ref.get("uid"))
        over = finished(job) if job is not None else None
        if job is None:
            found.tell.append(("MissingJob", f"Active job went missing: {ref.get('name')}", "Normal"))
        elif over is not None:
            words = f"Saw completed job: {ref.get('name')}, condition: {over['type']}"
            found.tell.append(("SawCompletedJob", words, "Normal"))
        else:
            kept.append(ref)
    status.pop("active", None)
    if kept:
        status["active"] = kept
    active = {ref.get("uid") for ref in kept}
    for job in jobs:
        over, ended = finished(job), (job.get("status") or {}).get("completionTime")
        if over is None and job["metadata"]["uid"] not in active:
            words = f"Saw a job that the controller did not create or forgot: {job['metadata']['name']}"
            found.tell.append(("UnexpectedJob", words, "Warning"))
        elif over and over["type"] == "Complete" and \
                seconds_of(ended) > seconds_of(status.get("lastSuccessfulTime")):
            status["lastSuccessfulTime"] = ended


def _surplus(found: Plan, jobs: Sequence[Object], spec: Object) -> None:
    for kind, limit in (("Complete", spec.get("successfulJobsHistoryLimit")),
                        ("Failed", spec.get("failedJobsHistoryLimit"))):
        ended = [job for job in jobs if (finished(job) or {}).get("type") == kind]
        ended.sort(key=lambda job: ((job.get("status") or {}).get("startTime") or "~",
                                    job["metadata"]["name"]))
        if limit is not None:
            found.delete += ended[:max(0, len(ended) - limit)]


def _start(found: Plan, cron: Object, jobs: Sequence[Object], due: float, now: float) -> None:
    spec, status = cron["spec"], found.status
    deadline, active = spec.get("startingDeadlineSeconds"), status.get("active") or []
    if deadline is not None and due + deadline < now:
        words = "Missed scheduled time to start a job: " + formatdate(due).replace("-0000", "UTC")
        found.tell.append(("MissSchedule", words, "Warning"))
        return
    made = job_for(cron, due)
    if any(ref.get("name") == made["metadata"]["name"] for ref in active) or \
            seconds_of(status.get("lastScheduleTime")) == due:
        return
    if spec.get("concurrencyPolicy") == "Forbid" and active:
        words = ("Not starting job because prior execution is running and concurrency policy is Forbid")
        found.tell.append(("JobAlreadyActive", words, "Normal"))
        return
    if spec.get("concurrencyPolicy") == "Replace" and active:
        uids = {ref.get("uid") for ref in active}
        found.replace = [job for job in jobs if job["metadata"]["uid"] in uids]
        status.pop("active", None)
    found.create, found.due = made, due


def job_for(cron: Object, due: float) -> Object:
    """The Job of one time."""
    meta, template = cron["metadata"], copy.deepcopy(cron["spec"]["jobTemplate"])
    given, zone = template.get("metadata") or {}, zone_of(cron["spec"].get("timeZone") or "")
    at = datetime.fromtimestamp(due, zone).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": f"{meta['name']}-{int(due) // 60}", "namespace": meta["namespace"],
            "labels": given.get("labels") or {},
            "annotations": (given.get("annotations") or {}) | {_SCHEDULED: at},
            "ownerReferences": [owner_reference(cron)],
        },
        "spec": template["spec"],
    }


def with_started(status: Object, job: Object, due: float) -> Object:
    """The status once a Job has been made for the time ``due``."""
    meta = job["metadata"]
    ref = {"kind": "Job", "apiVersion": "batch/v1", "name": meta["name"], "namespace": meta["namespace"],
           "uid": meta["uid"], "resourceVersion": meta.get("resourceVersion", "")}
    return status | {"active": [*(status.get("active") or ()), ref], "lastScheduleTime": stamp_of(due)}
