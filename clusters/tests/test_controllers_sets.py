"""DaemonSets, StatefulSets, their revisions, budgets and taints, decided; and scaling in proportion."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.controllers import autoscalers, budgets, daemonsets, history, nodes, statefulsets
from clusters.controllers.deployment_scaling import MAXIMUM, resized
from clusters.controllers.history import HASH_LABEL
from clusters.controllers.pods import is_ready, is_terminating, seconds_of
from clusters.tests.controllers_objects import Object, deployment, node, pod, replicaset

NOW = seconds_of("2026-01-01T01:00:00Z")


def owner(kind: str, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": "one"}]}}
    meta = {"name": "web", "namespace": "default", "uid": "uid-web", "generation": 1}
    given = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": given | spec, "status": {}}


def stored(made: Object, name: str, *, ready: bool = True) -> Object:
    """A pod that a plan wants, as the server has it once it runs."""
    found = copy.deepcopy(made)
    found["metadata"] |= {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
    state = "True" if ready else "False"
    found["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": state}]}
    return found


NODES = [node(f"n{number}") for number in range(4)]


def daemons(item: Object, mark: str) -> list[Object]:
    return [stored(made, f"{daemonsets.node_of(made)}-{mark}")
            for made in daemonsets.plan(item, [], NODES, mark, NOW).create]


def test_a_daemon_is_made_for_each_node_it_may_run_on() -> None:
    item = owner("DaemonSet")
    made = daemonsets.plan(item, [], NODES, "h", NOW).create
    assert [daemonsets.node_of(each) for each in made] == ["n0", "n1", "n2", "n3"]
    keys = {(t["key"].partition("/")[2], t["effect"]) for t in made[0]["spec"]["tolerations"]}
    assert ("unschedulable", "NoSchedule") in keys and ("not-ready", "NoExecute") in keys
    assert made[0]["metadata"]["labels"][HASH_LABEL] == "h"
    item["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    nodes_ = [node("a", labels={"disk": "ssd"}), node("b")]
    assert [daemonsets.node_of(p) for p in daemonsets.plan(item, [], nodes_, "h", NOW).create] == ["a"]


@pytest.mark.parametrize(("what", "starts", "stays"), [
    (node("x"), True, True),
    (node("x", unschedulable=True), True, True),
    (node("x", ready=False), False, True),
    (node("x", taints=[{"key": "k", "effect": "NoSchedule"}]), False, True),
    (node("x", taints=[{"key": "k", "effect": "NoExecute"}]), False, False),
])
def test_where_a_daemon_starts_and_where_it_stays(what: Object, starts: bool, stays: bool) -> None:
    assert daemonsets.may_run(owner("DaemonSet"), what) == (starts, stays)


@settings(max_examples=40, deadline=None)
@given(most=st.integers(1, 4), surge=st.booleans(), order=st.randoms(use_true_random=False))
def test_an_update_of_daemons_ends_and_keeps_enough_of_them(most: int, surge: bool, order: Any) -> None:
    rolling = {"maxSurge": most, "maxUnavailable": 0} if surge else {"maxSurge": 0, "maxUnavailable": most}
    item = owner("DaemonSet", updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    pods = daemons(item, "old")
    for turn in range(100):
        plan = daemonsets.plan(item, pods, NODES, "new", NOW)
        gone = {each["metadata"]["uid"] for each in plan.delete}
        pods = [each for each in pods if each["metadata"]["uid"] not in gone]
        pods += [stored(each, f"{daemonsets.node_of(each)}-new", ready=False) for each in plan.create]
        serving = {daemonsets.node_of(each) for each in pods if is_ready(each)}
        assert len(serving) >= len(NODES) - (0 if surge else most)
        assert len(pods) <= len(NODES) + (most if surge else 0)
        waiting = [each for each in pods if not is_ready(each)]
        if not waiting and not plan.create and not plan.delete:
            break
        for each in order.sample(waiting, min(order.randint(turn % 3 // 2, 1), len(waiting))):
            each["status"]["conditions"][0]["status"] = "True"
    assert sorted(each["metadata"]["name"] for each in pods) == [f"n{n}-new" for n in range(4)]
    plan = daemonsets.plan(item, pods, NODES, "new", NOW)
    assert plan.status is not None and plan.status["updatedNumberScheduled"] == 4


def test_ended_daemons_make_room_and_say_so() -> None:
    item = owner("DaemonSet")
    pods = daemons(item, "h")
    pods[0]["status"]["phase"], pods[1]["status"]["phase"] = "Failed", "Succeeded"
    plan = daemonsets.plan(item, pods, NODES, "h", NOW)
    assert plan.delete == pods[:2]
    assert plan.tell[0] == (
        "FailedDaemonPod", "Found failed daemon pod default/n0-h on node n0, will try to kill it", "Warning")


def revision(name: str, number: int, image: str = "one") -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": image}]}}
    return {"metadata": {"name": name, "labels": {}}, "revision": number,
            "data": {"spec": {"template": template | {"$patch": "replace"}}}}


@settings(max_examples=40, deadline=None)
@given(parallel=st.booleans(), partition=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_an_update_of_a_stateful_set_goes_from_the_last_and_one_by_one(
    parallel: bool, partition: int, order: Any,
) -> None:
    policy = "Parallel" if parallel else "OrderedReady"
    item = owner("StatefulSet", replicas=3, podManagementPolicy=policy, serviceName="web",
                 updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": partition}})
    old, new = revision("old", 1), revision("new", 2, "two")
    pods: list[Object] = []
    for revisions in (statefulsets.Revisions(old, old), statefulsets.Revisions(old, new)):
        for turn in range(60):
            plan = statefulsets.plan(item, pods, revisions, NOW)
            if not parallel:
                assert len(plan.create) + len(plan.delete) <= 1
            gone = {each["metadata"]["name"] for each in plan.delete}
            pods = [each for each in pods if each["metadata"]["name"] not in gone]
            pods += [stored(each, each["metadata"]["name"], ready=False) for each in plan.create]
            waiting = [each for each in pods if not is_ready(each)]
            if revisions.update is new:
                assert len(waiting) + 3 - len(pods) <= 1
            if not waiting and not plan.create and not plan.delete:
                break
            for each in order.sample(waiting, min(order.randint(turn % 3 // 2, 1), len(waiting))):
                each["status"]["conditions"][0]["status"] = "True"
        assert sorted(each["metadata"]["name"] for each in pods) == ["web-0", "web-1", "web-2"]
    marks = {each["metadata"]["name"]: each["metadata"]["labels"][HASH_LABEL] for each in pods}
    assert marks == {f"web-{n}": "new" if n >= partition else "old" for n in range(3)}
    first = next(each for each in pods if each["metadata"]["name"] == "web-0")
    assert (first["spec"]["hostname"], first["spec"]["subdomain"]) == ("web-0", "web")


def test_a_stateful_set_shrinks_from_the_last_and_waits_for_each() -> None:
    item, one = owner("StatefulSet", replicas=1), revision("r", 1)
    revisions = statefulsets.Revisions(one, one)
    pods = [stored(statefulsets.pod_for(item, n, revisions), f"web-{n}") for n in range(3)]
    assert statefulsets.plan(item, pods, revisions, NOW).delete == [pods[2]]
    pods[2]["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:00Z"
    assert is_terminating(pods[2])
    assert statefulsets.plan(item, pods, revisions, NOW).delete == []
    assert statefulsets.plan(item, pods[:2], revisions, NOW).delete == [pods[1]]
    status = statefulsets.plan(item, pods[:1], revisions, NOW).status
    assert status is not None and (status["replicas"], status["currentRevision"]) == (1, "r")


def test_a_template_seen_before_is_numbered_anew_and_old_ones_go() -> None:
    item = owner("StatefulSet", revisionHistoryLimit=1)
    made = history.plan(item, [], set()).create
    assert made is not None and made["revision"] == 1
    assert history.template_of(made) == item["spec"]["template"]
    others = [revision(f"r{n}", n, f"image{n}") for n in (2, 3, 4)]
    plan = history.plan(item, [made, *others], {"r4"})
    assert (plan.update, plan.create, plan.renumber) == (made, None, 5)
    assert [each["metadata"]["name"] for each in plan.delete] == ["r2"]


def test_replicas_are_added_in_proportion() -> None:
    """The example of the Kubernetes documentation ("Proportional scaling"): 10 replicas become 15."""
    item = deployment(15, strategy={"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}})
    before = {"deployment.kubernetes.io/desired-replicas": "10", MAXIMUM: "13"}
    old, new = replicaset("old", 8, annotations=before), replicaset("new", 5, annotations=before)
    assert {rs["metadata"]["name"]: count for rs, count in resized(item, new, [old])} == {"old": 11, "new": 7}


def budget(**spec: Any) -> Object:
    return {"metadata": {"name": "b", "generation": 1}, "spec": {"selector": {}} | spec, "status": {}}


@pytest.mark.parametrize(("spec", "expected", "allowed"), [
    ({"minAvailable": 2}, 3, 1), ({"minAvailable": "50%"}, 3, 1), ({"minAvailable": 4}, 3, 0),
    ({"maxUnavailable": 1}, 3, 1), ({"maxUnavailable": 1}, 4, 0), ({"maxUnavailable": "50%"}, 4, 1),
])
def test_what_a_budget_allows(spec: Object, expected: int, allowed: int) -> None:
    three = [pod(f"p{n}") for n in range(3)]
    assert budgets.status_of(budget(**spec), three, expected, NOW)["disruptionsAllowed"] == allowed


def test_a_pod_that_was_just_evicted_is_not_counted_again() -> None:
    item = budget(minAvailable=1)
    item["status"] = {"disruptedPods": {"p0": "2026-01-01T00:59:59Z"}}
    two = [pod("p0"), pod("p1")]
    assert budgets.status_of(item, two, 2, NOW)["disruptionsAllowed"] == 0
    assert budgets.status_of(item, two, 2, NOW + 200)["disruptionsAllowed"] == 1


def test_a_node_in_trouble_is_tainted_and_pods_stay_as_long_as_they_bear_it() -> None:
    lost = node("n", taints=[{"key": "mine", "effect": "NoSchedule"}], unschedulable=True)
    lost["status"]["conditions"][0]["status"] = "Unknown"
    due = nodes.taints_due(lost, NOW)
    assert due is not None
    assert [(t["key"].rpartition("/")[2], t["effect"]) for t in due] == [
        ("mine", "NoSchedule"), ("unreachable", "NoSchedule"), ("unreachable", "NoExecute"),
        ("unschedulable", "NoSchedule")]
    lost["spec"]["taints"] = due
    assert nodes.taints_due(lost, NOW + 5) is None
    patient = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300}
    assert nodes.stays_until(pod(spec={"tolerations": [patient]}), due) == 300.0
    assert nodes.stays_until(pod(), due) == 0.0
    assert nodes.stays_until(pod(spec={"tolerations": [{"operator": "Exists"}]}), due) is None
    back = node("n", taints=due)
    assert nodes.taints_due(back, NOW) == [{"key": "mine", "effect": "NoSchedule"}]


def test_an_autoscaler_without_its_target_says_so() -> None:
    to = {"kind": "Deployment", "apiVersion": "apps/v1", "name": "gone"}
    item = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": to, "maxReplicas": 3}, "status": {}}
    plan = autoscalers.plan(item, None, NOW)
    assert plan.trouble == [("FailedGetScale", 'deployments.apps "gone" not found')]
    assert plan.status is not None and plan.status["conditions"][0]["status"] == "False"
    item["status"] = plan.status
    assert autoscalers.plan(item, None, NOW + 60) == autoscalers.Plan()
