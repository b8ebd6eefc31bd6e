"""Jobs and CronJobs, decided: every pod counted once, every time run once; and the schedules they follow."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.controllers import cronjobs, jobs
from clusters.controllers.completions import indexes_of, listed
from clusters.controllers.pods import seconds_of, stamp_of
from clusters.schedules import BadSchedule, parse, zone_of
from clusters.tests.controllers_objects import Object

NOW = seconds_of("2026-01-01T01:00:00Z")


def job(policy: str = "Never", **spec: Any) -> Object:
    inner = {"restartPolicy": policy, "containers": [{"name": "c", "image": "busybox"}]}
    meta = {"name": "j", "namespace": "default", "uid": "uid-j", "generation": 1}
    template = {"metadata": {"labels": {"job": "j"}}, "spec": inner}
    given = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": template,
             "selector": {"matchLabels": {"job": "j"}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": given | spec, "status": {}}


class Playing:
    """A Job with its pods, as server and kubelet would have them."""

    def __init__(self, made: Object) -> None:
        self.job, self.pods, self.now, self.made = made, [], NOW, 0

    def step(self, released: int = 99) -> jobs.Plan:
        """One round of the controller; it gets as far as ``released`` finalizers."""
        plan = jobs.plan(self.job, self.pods, self.now)
        if plan.status is not None:
            self.job["status"] = copy.deepcopy(plan.status)
        for pod in plan.forget[:released]:
            pod["metadata"].pop("finalizers")
        for pod in plan.create:
            self.made += 1
            meta = pod["metadata"] | {"name": f"p{self.made}", "uid": f"u{self.made}"}
            self.pods.append(pod | {"metadata": meta, "status": {"phase": "Running"}})
        for pod in plan.delete:
            pod["metadata"]["deletionTimestamp"] = stamp_of(self.now)
        self.pods = [pod for pod in self.pods if "deletionTimestamp" not in pod["metadata"]
                     or pod["metadata"].get("finalizers")]
        return plan

    def settle(self) -> None:
        for _ in range(20):
            if self.step() == jobs.Plan():
                return

    def end(self, pod: Object, *, well: bool) -> None:
        self.now += 1
        done = {"terminated": {"finishedAt": stamp_of(self.now), "exitCode": int(not well)}}
        pod["status"] = {"phase": "Succeeded" if well else "Failed", "containerStatuses": [{"state": done}]}

    def running(self) -> list[Object]:
        return [pod for pod in self.pods if pod["status"]["phase"] == "Running"]


@settings(max_examples=60, deadline=None)
@given(completions=st.integers(1, 5), parallelism=st.integers(1, 4), indexed=st.booleans(),
       choices=st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 2)), max_size=40))
def test_every_pod_is_counted_once_and_no_more_run_than_may(
    completions: int, parallelism: int, indexed: bool, choices: list[tuple[int, bool, int]],
) -> None:
    mode = "Indexed" if indexed else "NonIndexed"
    spec = {"completions": completions, "parallelism": parallelism, "completionMode": mode}
    play = Playing(job(**spec, backoffLimit=99))
    well = badly = 0
    for which, good, rounds in choices:
        if rounds:
            play.settle()
        assert len(play.running()) <= parallelism
        if not play.running():
            play.now += 10_000  # the wait after failures is over
            continue
        pod = play.running()[which % len(play.running())]
        play.end(pod, well=good)
        well, badly = well + good, badly + (not good)
        for released in range(rounds):
            play.step(released)
    play.settle()
    status = play.job["status"]
    assert (status.get("succeeded", 0), status.get("failed", 0)) == (well, badly)
    assert status["uncountedTerminatedPods"] == {}
    assert (jobs.finished(play.job) is not None) is (well >= completions)
    assert not any(jobs.is_tracked(pod) for pod in play.pods if pod["status"]["phase"] != "Running")
    if indexed:
        assert len(indexes_of(status.get("completedIndexes", ""))) == well


def test_a_failed_pod_is_followed_by_another_after_a_wait_that_grows() -> None:
    play = Playing(job(backoffLimit=2))
    waits = []
    for _ in range(2):
        play.settle()
        play.end(play.running()[0], well=False)
        play.settle()
        assert not play.running()
        waits.append(play.step().again)
        play.now += waits[-1] or 0
    assert waits == [10.0, 20.0]
    play.settle()
    play.end(play.running()[0], well=False)
    play.settle()
    assert jobs.finished(play.job)["reason"] == "BackoffLimitExceeded"  # type: ignore[index]
    assert play.job["status"]["failed"] == 3


def test_who_is_taken_away_did_not_fail() -> None:
    play = Playing(job(completions=4, parallelism=3))
    play.settle()
    play.job["spec"]["parallelism"] = 1
    play.settle()
    assert len(play.running()) == 1
    play.job["spec"]["suspend"] = True
    play.settle()
    assert (play.running(), play.job["status"].get("failed", 0)) == ([], 0)
    assert "startTime" not in play.job["status"]
    play.job["spec"] |= {"suspend": False, "parallelism": 2}
    play.settle()
    assert len(play.running()) == 2
    play.running()[0]["metadata"]["deletionTimestamp"] = stamp_of(play.now)  # by somebody else: that counts
    play.settle()
    assert play.job["status"]["failed"] == 1


def test_a_finished_job_goes_when_its_time_is_over() -> None:
    play = Playing(job(ttlSecondsAfterFinished=5))
    play.settle()
    play.end(play.running()[0], well=True)
    play.settle()
    assert play.step().again == 5.0
    play.now += 5
    assert play.step().expired


def test_indexes_are_written_in_ranges() -> None:
    assert [listed(found) for found in ({0}, {0, 1}, {0, 1, 2, 5, 7, 8}, set())] == [
        "0", "0,1", "0-2,5,7,8", ""]


@given(st.sets(st.integers(0, 200)))
def test_indexes_survive_writing(found: set[int]) -> None:
    assert indexes_of(listed(found)) == found


@pytest.mark.parametrize(("text", "words"), [
    ("", "empty spec string"),
    ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
    ("60 * * * *", "end of range (60) above maximum (59): 60"),
    ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
    ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
    ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
    ("*/0 * * * *", "step of range should be a positive number: */0"),
    ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
    ("1/2/3 * * * *", "too many slashes: 1/2/3"),
    ("@often", "unrecognized descriptor: @often"),
])
def test_what_is_no_schedule_is_told_in_the_words_of_kubernetes(text: str, words: str) -> None:
    with pytest.raises(BadSchedule) as caught:
        parse(text)
    assert str(caught.value) == words


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda p: f"{min(p)}-{max(p)}")
    steps = st.tuples(st.one_of(st.just("*"), spans), st.integers(1, 9)).map(lambda p: f"{p[0]}/{p[1]}")
    part = st.one_of(st.just("*"), number.map(str), spans, steps)
    return st.lists(part, min_size=1, max_size=3).map(",".join)


def fits(text: str, value: int, low: int, high: int) -> bool:
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        if begin <= value <= end and (value - begin) % int(step or 1) == 0:
            return True
    return False


@settings(max_examples=80, deadline=None)
@given(minute=field(0, 59), hour=field(0, 23), day=field(1, 31), month=field(1, 12), weekday=field(0, 6),
       after=st.integers(1_700_000_000, 1_900_000_000))
def test_the_next_time_is_the_first_that_fits(
    minute: str, hour: str, day: str, month: str, weekday: str, after: int,
) -> None:
    found = parse(f"{minute} {hour} {day} {month} {weekday}").next(after)
    stars = any(part in ("*", "*/1") for part in f"{day},{weekday}".split(","))

    def is_due(stamp: int) -> bool:
        at = datetime.fromtimestamp(stamp, UTC)
        one, other = fits(day, at.day, 1, 31), fits(weekday, at.isoweekday() % 7, 0, 6)
        day_fits = (one and other) if stars else (one or other)
        return day_fits and fits(month, at.month, 1, 12) and fits(hour, at.hour, 0, 23) \
            and fits(minute, at.minute, 0, 59)

    begin = (after // 60 + 1) * 60
    soonest = next((at for at in range(begin, begin + 60 * 60 * 24 * 3, 60) if is_due(at)), None)
    if soonest is not None:
        assert found == soonest
    elif found is not None:
        assert is_due(int(found)) and found >= begin + 60 * 60 * 24 * 3


def test_clocks_that_are_changed() -> None:
    berlin, daily = zone_of("Europe/Berlin"), parse("30 2 * * *")
    spring = datetime(2026, 3, 28, 12, tzinfo=berlin).timestamp()
    assert daily.next(spring, berlin) == datetime(2026, 3, 30, 2, 30, tzinfo=berlin).timestamp()
    autumn = datetime(2026, 10, 25, 0, tzinfo=berlin).timestamp()
    first = daily.next(autumn, berlin)
    assert first is not None and daily.next(first, berlin) == first + 3600
    assert parse("@every 1h30m").next(100.5) == 5500.0
    with pytest.raises(BadSchedule, match="unknown time zone Nowhere"):
        zone_of("Nowhere")


def cron(schedule: str = "*/10 * * * *", **spec: Any) -> Object:
    meta = {"name": "c", "namespace": "default", "uid": "uid-c", "creationTimestamp": stamp_of(NOW - 60)}
    given = {"schedule": schedule, "concurrencyPolicy": "Allow", "jobTemplate": {"spec": {"template": {}}},
             "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": given | spec, "status": {}}


def run_of(name: str, *, over: str = "", at: float = NOW) -> Object:
    status: Object = {"startTime": stamp_of(at)}
    if over:
        status |= {"conditions": [{"type": over, "status": "True"}], "completionTime": stamp_of(at + 5)}
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "status": status}


def test_a_time_is_run_once_and_the_next_one_waited_for() -> None:
    item = cron()
    plan = cronjobs.plan(item, [], NOW + 1)
    assert plan.create is not None
    assert plan.create["metadata"]["name"] == f"c-{int(NOW) // 60}"
    note = "batch.kubernetes.io/cronjob-scheduled-timestamp"
    assert plan.create["metadata"]["annotations"] == {note: "2026-01-01T01:00:00Z"}
    assert plan.again == pytest.approx(599.1)
    made = run_of(plan.create["metadata"]["name"])
    item["status"] = cronjobs.with_started(plan.status, made, plan.due)
    assert item["status"]["lastScheduleTime"] == stamp_of(NOW)
    assert cronjobs.plan(item, [made], NOW + 2).create is None
    done = run_of(made["metadata"]["name"], over="Complete")
    plan = cronjobs.plan(item, [done], NOW + 30)
    assert plan.tell == [
        ("SawCompletedJob", f"Saw completed job: {made['metadata']['name']}, condition: Complete", "Normal")]
    assert plan.status == {"lastScheduleTime": stamp_of(NOW), "lastSuccessfulTime": stamp_of(NOW + 5)}


def test_one_at_a_time_or_in_place_of_the_last() -> None:
    going = run_of("c-1")
    active = {"active": [{"name": "c-1", "uid": "uid-c-1"}], "lastScheduleTime": stamp_of(NOW - 600)}
    for policy, creates, replaced in (("Allow", True, []), ("Forbid", False, []), ("Replace", True, [going])):
        item = cron(concurrencyPolicy=policy) | {"status": active}
        plan = cronjobs.plan(item, [going], NOW + 1)
        assert ((plan.create is not None), plan.replace) == (creates, replaced)
        if not creates:
            assert plan.tell[0][0] == "JobAlreadyActive"
    assert cronjobs.plan(cron(suspend=True), [], NOW + 1).create is None


def test_missed_times_are_made_up_for_by_the_last_of_them_within_the_deadline() -> None:
    item = cron() | {"status": {"lastScheduleTime": stamp_of(NOW - 6000)}}
    plan = cronjobs.plan(item, [], NOW + 60)
    assert plan.due == NOW
    late = cron(startingDeadlineSeconds=30) | {"status": item["status"]}
    assert cronjobs.plan(late, [], NOW + 60).create is None
    many = cron("* * * * *") | {"status": {"lastScheduleTime": stamp_of(NOW - 60 * 200)}}
    plan = cronjobs.plan(many, [], NOW + 1)
    assert plan.due == NOW and plan.tell[-1][0] == "TooManyMissedTimes"


def test_old_runs_are_cleared_away_by_how_they_ended() -> None:
    ended = [run_of(f"ok{n}", over="Complete", at=NOW + n) for n in range(5)]
    failed = [run_of(f"no{n}", over="Failed", at=NOW + n) for n in range(3)]
    plan = cronjobs.plan(cron(), [*ended, *failed], NOW - 30)
    assert [one["metadata"]["name"] for one in plan.delete] == ["ok0", "ok1", "no0", "no1"]
