"""Defaults and rules of Jobs and CronJobs. Pure.

Rules: ``pkg/apis/batch`` of Kubernetes 1.36, the fields that this cluster acts on.
"""

from __future__ import annotations

from typing import Any

from clusters.apiserver import pods
from clusters.apiserver.status import FieldError, invalid, not_supported, required
from clusters.apiserver.workloads import default_template
from clusters.schedules import BadSchedule, parse, zone_of

Object = dict[str, Any]

_RESTARTS = ("OnFailure", "Never")
_MODES = ("NonIndexed", "Indexed")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_LONGEST_NAME = 52  # the Jobs' names add up to 11 characters, and must be labels
_MOST_INDEXED = 100_000


def default_job_spec(spec: Object) -> None:
    """Sets, in place, the defaults of a Job's spec, alone or within a CronJob."""
    default_template(spec)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")


def default_job(obj: Object) -> None:
    """Sets, in place, a Job's defaults; its labels are its template's."""
    spec = obj.setdefault("spec", {})
    default_job_spec(spec)
    spec.setdefault("manualSelector", False)
    metadata = spec["template"]["metadata"]
    if metadata.get("labels") and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(metadata["labels"])


def claim_job(obj: Object) -> None:
    """Sets, in place, on creation, the selector and labels by which a Job knows its pods."""
    spec, metadata = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return
    labels = spec["template"]["metadata"].setdefault("labels", {})
    for key, value in (("controller-uid", metadata["uid"]), ("job-name", metadata.get("name", ""))):
        labels[f"batch.kubernetes.io/{key}"] = labels[key] = value
    metadata.setdefault("labels", dict(labels))
    spec.setdefault("selector", {}).setdefault("matchLabels", {})
    spec["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = metadata["uid"]


def default_cron_job(obj: Object) -> None:
    """Sets, in place, a CronJob's defaults."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    job = spec.setdefault("jobTemplate", {})
    job.setdefault("metadata", {})
    inner = job.setdefault("spec", {})
    default_template(inner)


def job_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a Job."""
    return _job_spec_errors(obj["spec"], "spec")


def _negative(spec: Object, path: str, *fields: str) -> list[FieldError]:
    return [invalid(f"{path}.{name}", spec[name], _NOT_NEGATIVE) for name in fields if spec.get(name, 0) < 0]


def _job_spec_errors(spec: Object, path: str) -> list[FieldError]:
    wrong = _negative(spec, path, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit")
    wrong += _negative(spec, path, "ttlSecondsAfterFinished")
    mode = spec.get("completionMode", "NonIndexed")
    if mode not in _MODES:
        wrong.append(not_supported(f"{path}.completionMode", mode, _MODES))
    elif mode == "Indexed":
        if "completions" not in spec:
            wrong.append(required(f"{path}.completions", "when completion mode is Indexed"))
        if spec.get("parallelism", 1) > _MOST_INDEXED:
            words = f"must be less than or equal to {_MOST_INDEXED} when completion mode is Indexed"
            wrong.append(invalid(f"{path}.parallelism", spec["parallelism"], words))
    inner = spec["template"]["spec"]
    wrong += pods.pod_spec_errors(inner, f"{path}.template.spec")
    policy, where = inner.get("restartPolicy", ""), f"{path}.template.spec.restartPolicy"
    if policy in {"", "Always"}:
        wrong.append(required(where, 'valid values: "OnFailure", "Never"'))
    elif policy not in _RESTARTS:
        wrong.append(not_supported(where, policy, _RESTARTS))
    return wrong


def job_update_errors(new: Object, old: Object) -> list[FieldError]:
    """The pods of a Job are decided once; an indexed one may grow and shrink with its parallelism."""
    fixed = ["selector", "template", "completionMode"]
    before, after = old["spec"], new["spec"]
    indexed = before.get("completionMode") == "Indexed"
    if not (indexed and after.get("completions") == after.get("parallelism")):
        fixed.insert(0, "completions")
    return [
        invalid(f"spec.{field}", after.get(field), "field is immutable")
        for field in fixed
        if after.get(field) != before.get(field)
    ]


def cron_job_errors(obj: Object) -> list[FieldError]:
    """What is wrong with a CronJob."""
    spec = obj["spec"]
    wrong = _schedule_errors(spec)
    wrong += _negative(spec, "spec", "startingDeadlineSeconds")
    if "timeZone" in spec:
        wrong += _zone_errors(spec["timeZone"])
    if spec["concurrencyPolicy"] not in {"Allow", "Forbid", "Replace"}:
        known = ("Allow", "Forbid", "Replace")
        wrong.append(not_supported("spec.concurrencyPolicy", spec["concurrencyPolicy"], known))
    wrong += _job_spec_errors(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")
    wrong += _negative(spec, "spec", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    name = obj["metadata"].get("name", "")
    if len(name) > _LONGEST_NAME:
        words = f"must be no more than {_LONGEST_NAME} characters"
        wrong.append(invalid("metadata.name", name, words))
    return wrong


def _schedule_errors(spec: Object) -> list[FieldError]:
    text, wrong = spec.get("schedule") or "", []
    if not text:
        return [required("spec.schedule")]
    try:
        parse(text)
    except BadSchedule as error:
        wrong.append(invalid("spec.schedule", text, str(error)))
    if "TZ" in text:
        words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        wrong.append(invalid("spec.schedule", text, words))
    return wrong


def _zone_errors(name: str) -> list[FieldError]:
    if not name:
        return [invalid("spec.timeZone", name, "timeZone must be nil or non-empty string")]
    try:
        zone_of(name)
    except BadSchedule as error:
        return [invalid("spec.timeZone", name, str(error))]
    return []
