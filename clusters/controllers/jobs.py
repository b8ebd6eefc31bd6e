"""Job → pods that end: how many more, what they add up to, and when the Job is over. Pure.

Rules: ``pkg/controller/job`` of Kubernetes 1.36. A pod that ended is counted in three steps, so that none is
counted twice or missed: its uid goes into the status, then the pod loses its finalizer, then the uid becomes
a number. Left out: podFailurePolicy, successPolicy, backoffLimitPerIndex, managedBy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.controllers.completions import index_of, indexes_of, listed, next_indexes
from clusters.controllers.podcontrol import pod_from
from clusters.controllers.pods import condition, is_active, is_ready, is_terminating, seconds_of, stamp_of
from clusters.controllers.replicasets import first_to_go

Object = dict[str, Any]
FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
_FIRST_BACKOFF, _LONGEST_BACKOFF = 10.0, 600.0  # seconds before a pod after a failed one
_REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")


@dataclass
class Plan:
    """What one Job needs now. The status is written first, then finalizers go, then pods come and go."""

    status: Object | None = None
    forget: list[Object] = field(default_factory=list)  # pods that lose the finalizer
    create: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    tell: tuple[str, str, str] | None = None  # an event: reason, message, kind
    again: float | None = None
    expired: bool = False  # ttlSecondsAfterFinished is over


def finished(job: Object) -> Object | None:
    """The condition that says the Job is over, or None."""
    for kind in ("Complete", "Failed"):
        found = condition(job, kind)
        if found is not None and found.get("status") == "True":
            return found
    return None


def is_tracked(pod: Object) -> bool:
    """Whether the pod has not been counted yet."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def has_failed(job: Object, pod: Object) -> bool:
    """Whether the pod counts as failed: by its phase, or because it was removed before it ended."""
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Failed":
        return True
    only_failed = job["spec"].get("podReplacementPolicy") == "Failed"
    return not only_failed and is_terminating(pod) and phase != "Succeeded"


def has_succeeded(pod: Object) -> bool:
    """Whether all of the pod's programs have ended well."""
    return bool((pod.get("status") or {}).get("phase") == "Succeeded")


def plan(job: Object, pods: Sequence[Object], now: float) -> Plan:
    """Decide for one Job; ``pods`` are its own, ``now`` seconds since 1970."""
    over = finished(job)
    if over is not None:
        return _after(job, over, pods, now)
    work = _Count(job, pods, now)
    work.count()
    verdict = work.verdict()
    found = Plan(again=work.deadline())
    if verdict is None and not is_terminating(job):
        _staff(found, work)
        found.forget = list(found.delete)  # who is taken away did not fail
    elif verdict is not None and verdict[0] == "Failed":
        found.delete = list(work.active)
    found.forget += work.forget
    work.settle(found, verdict)
    found.status = None if work.status == (job.get("status") or {}) else work.status
    return found


def _after(job: Object, over: Object, pods: Sequence[Object], now: float) -> Plan:
    found = Plan(forget=[pod for pod in pods if is_tracked(pod)])
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    if seconds is not None and not is_terminating(job):
        left = seconds_of(over.get("lastTransitionTime")) + seconds - now
        found.expired, found.again = left <= 0, left if left > 0 else None
    return found


class _Count:
    """The status of one Job as it becomes."""

    def __init__(self, job: Object, pods: Sequence[Object], now: float) -> None:
        self.job, self.pods, self.now, self.spec = job, pods, now, job["spec"]
        self.status: Object = copy.deepcopy(job.get("status") or {})
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.active = [pod for pod in pods if is_active(pod)]
        self.forget: list[Object] = []
        self.suspended = bool(self.spec.get("suspend"))

    def count(self) -> None:
        """The first and the last step of counting."""
        waiting = {pod["metadata"]["uid"] for pod in self.pods if is_tracked(pod)}
        lists = self.status.get("uncountedTerminatedPods") or {}
        for field_name in ("succeeded", "failed"):
            uids = lists.get(field_name) or []
            gone = [uid for uid in uids if uid not in waiting]
            self._add(field_name, len(gone))
            lists[field_name] = [uid for uid in uids if uid in waiting]
        known = {uid for uids in lists.values() for uid in uids}
        for pod in self.pods:
            uid = pod["metadata"]["uid"]
            if not is_tracked(pod):
                continue
            if has_succeeded(pod):
                if not self.indexed and uid not in known:
                    lists["succeeded"].append(uid)
            elif has_failed(self.job, pod):
                if uid not in known:
                    lists["failed"].append(uid)
            elif not is_terminating(self.job):
                continue
            self.forget.append(pod)
        self.status["uncountedTerminatedPods"] = {name: uids for name, uids in lists.items() if uids}
        if self.indexed:
            done = indexes_of(self.status.get("completedIndexes", ""))
            done |= {index_of(pod, INDEX) for pod in self.pods if has_succeeded(pod)} - {-1}
            self.status["completedIndexes"] = listed(done)
            self.status["succeeded"] = len(done)
            self.done = done

    def _add(self, name: str, number: int) -> None:
        if number:
            self.status[name] = self.status.get(name, 0) + number

    def total(self, name: str) -> int:
        """All that succeeded or failed, counted already or not."""
        waiting = 0 if self.indexed and name == "succeeded" else \
            len(self.status["uncountedTerminatedPods"].get(name) or ())
        return int(self.status.get(name, 0)) + waiting

    def verdict(self) -> tuple[str, str, str] | None:
        """How the Job ends (condition, reason, message), or None while it goes on."""
        for kind, becomes in (("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")):
            held = condition(self.job, kind)
            if held and held.get("status") == "True":
                return becomes, held.get("reason", ""), held.get("message", "")
        limit = self.spec.get("backoffLimit", 6)
        if self.total("failed") > limit or self._restarted(limit):
            return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        left = self.deadline()
        if left is not None and left <= 0:
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        wanted = self.spec.get("completions")
        enough = self.total("succeeded") >= (1 if wanted is None else wanted)
        return ("Complete", *_REACHED) if enough and not self.active else None

    def _restarted(self, limit: int) -> bool:
        if self.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
            return False
        restarts = sum(
            c.get("restartCount", 0) for pod in self.pods
            if (pod.get("status") or {}).get("phase") in ("Running", "Pending")
            for kind in ("initContainerStatuses", "containerStatuses")
            for c in (pod.get("status") or {}).get(kind) or ())
        return bool(restarts > 0 if limit == 0 else restarts >= limit)

    def deadline(self) -> float | None:
        """Seconds until the Job has run too long; None without such a limit."""
        limit, begun = self.spec.get("activeDeadlineSeconds"), self.status.get("startTime")
        if limit is None or self.suspended:
            return None
        return float(limit) if not begun else seconds_of(begun) + limit - self.now

    def backoff(self) -> float:
        """Seconds to wait before the next pod, after those that failed since the last success."""
        ends = sorted((_end(pod), has_succeeded(pod)) for pod in self.pods
                      if has_succeeded(pod) or has_failed(self.job, pod))
        failures = 0
        for _, good in ends:
            failures = 0 if good else failures + 1
        if not failures:
            return 0.0
        wait = min(_FIRST_BACKOFF * float(1 << min(failures - 1, 10)), _LONGEST_BACKOFF)
        return ends[-1][0] + wait - self.now

    def settle(self, found: Plan, verdict: tuple[str, str, str] | None) -> None:
        """The rest of the status, after what is made and removed now."""
        going = {pod["metadata"]["uid"] for pod in found.delete}
        rest = [pod for pod in self.active if pod["metadata"]["uid"] not in going]
        ended = sum(is_terminating(p) and (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
                    for p in self.pods) + len(going)
        counts = {"active": len(rest) + len(found.create), "ready": sum(map(is_ready, rest)),
                  "terminating": ended}
        self.status |= counts
        if not counts["active"]:
            del self.status["active"]
        if verdict is None:
            self._suspension(found)
            return
        kind, reason, message = verdict
        interim = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        self._condition(interim, "True", reason, message)
        uncounted = self.status["uncountedTerminatedPods"] or [p for p in self.pods if is_tracked(p)]
        if uncounted or ended or rest:
            return
        self._condition(kind, "True", reason, message)
        if kind == "Complete":
            self.status["completionTime"] = stamp_of(self.now)
            found.tell = ("Completed", "Job completed", "Normal")
        else:
            found.tell = (reason, message, "Warning")

    def _suspension(self, found: Plan) -> None:
        held = condition(self.job, "Suspended") or {}
        if self.suspended and held.get("status") != "True":
            self._condition("Suspended", "True", "JobSuspended", "Job suspended")
            found.tell = ("Suspended", "Job suspended", "Normal")
            self.status.pop("startTime", None)
        elif not self.suspended and held.get("status") == "True":
            self._condition("Suspended", "False", "JobResumed", "Job resumed")
            found.tell = ("Resumed", "Job resumed", "Normal")
            self.status["startTime"] = stamp_of(self.now)
        elif not self.suspended:
            self.status.setdefault("startTime", stamp_of(self.now))

    def _condition(self, kind: str, status: str, reason: str, message: str) -> None:
        stamp = stamp_of(self.now)
        conditions = self.status.setdefault("conditions", [])
        if any(c["type"] == kind and c["status"] == status for c in conditions):
            return
        conditions[:] = [c for c in conditions if c["type"] != kind]
        conditions.append({"type": kind, "status": status, "reason": reason, "message": message,
                           "lastProbeTime": stamp, "lastTransitionTime": stamp})


def _end(pod: Object) -> float:
    status = pod.get("status") or {}
    ends = [((c.get("state") or {}).get("terminated") or {}).get("finishedAt")
            for c in status.get("containerStatuses") or ()]
    times = [seconds_of(at) for at in ends if at]
    return max(times) if times else seconds_of(pod["metadata"].get("deletionTimestamp"))


def _staff(found: Plan, work: _Count) -> None:
    """How many pods run: as many as still have something to do, and no more than at once."""
    spec, active = work.spec, work.active
    if work.suspended:
        found.delete = list(active)
        return
    parallelism, wanted, done = spec.get("parallelism", 1), spec.get("completions"), work.total("succeeded")
    if wanted is None:
        want = len(active) if done else parallelism
    else:
        want = max(0, min(wanted - done, parallelism))
    if len(active) > want:
        found.delete = first_to_go(active)[:len(active) - want]
        return
    missing = want - len(active)
    if spec.get("podReplacementPolicy") == "Failed":
        missing -= sum(is_terminating(pod) and not has_succeeded(pod)
                       and (pod.get("status") or {}).get("phase") != "Failed" for pod in work.pods)
    if missing <= 0:
        return
    left = work.backoff()
    if left > 0:
        found.again = left if found.again is None else min(found.again, left)
        return
    if not work.indexed:
        found.create = [pod_for(work.job, None) for _ in range(missing)]
        return
    busy = work.done | {index_of(pod, INDEX) for pod in active}
    found.create = [pod_for(work.job, n) for n in next_indexes(busy, missing, wanted or 0)]


def pod_for(job: Object, index: int | None) -> Object:
    """A pod of a Job; of an indexed one the pod for this index."""
    template = copy.deepcopy(job["spec"]["template"])
    metadata = template.setdefault("metadata", {})
    metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
    if index is None:
        return pod_from(job, template)
    name = job["metadata"]["name"]
    metadata.setdefault("annotations", {})[INDEX] = str(index)
    metadata.setdefault("labels", {})[INDEX] = str(index)
    template["spec"]["hostname"] = f"{name}-{index}"
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {
        "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}}
    for kind in ("initContainers", "containers"):
        for container in template["spec"].get(kind) or ():
            container["env"] = [*(container.get("env") or ()), variable]
    return pod_from(job, template, generateName=f"{name}-{index}-")
