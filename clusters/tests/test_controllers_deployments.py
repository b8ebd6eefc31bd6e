"""Deployments and ReplicaSets: names, steps of an update, status; and what a scale-down removes first."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.controllers import deployments as dp
from clusters.controllers import replicasets as rsc
from clusters.controllers.claims import Claims, claim
from clusters.controllers.deployment_status import bounds, status_of
from clusters.controllers.podcontrol import pod_from
from clusters.controllers.pods import matches, satisfies, seconds_of, stamp_of
from clusters.tests.controllers_objects import Object, deployment, pod, replicaset

NOW = seconds_of("2026-01-01T01:00:00Z")


def reached(made: Object, ready: int | None = None, created: str = "2026-01-01T00:00:00Z") -> Object:
    """A ReplicaSet as the server has it once ``ready`` of its pods (default: all) are available."""
    count = made["spec"]["replicas"]
    alive = count if ready is None else ready
    stored = copy.deepcopy(made)
    stored["metadata"] |= {"uid": f"uid-{made['metadata']['name']}", "creationTimestamp": created}
    stored["status"] = {"replicas": count, "readyReplicas": alive, "availableReplicas": alive}
    return stored


def first(dep: Object) -> Object:
    made = dp.plan(dep, [], 0, NOW).create
    assert made is not None
    return made


def test_a_new_deployment_makes_one_replicaset_named_by_its_template() -> None:
    made = first(deployment(3))
    meta, spec = made["metadata"], made["spec"]
    assert re.fullmatch(r"d-[bcdfghjklmnpqrstvwxz2456789]{10}", meta["name"])
    mark = meta["name"].removeprefix("d-")
    assert (
        meta["labels"]
        == spec["selector"]["matchLabels"]
        == spec["template"]["metadata"]["labels"]
        == {"app": "web", "pod-template-hash": mark}
    )
    assert spec["replicas"] == 3
    assert meta["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert meta["ownerReferences"] == [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "d",
            "uid": "uid-d",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_the_hash_depends_on_the_template_alone_and_not_on_the_order_of_its_keys() -> None:
    template = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {}}
    turned = {"spec": {}, "metadata": {"labels": {"b": "2", "a": "1"}}}
    assert dp.template_hash(template) == dp.template_hash(turned)
    assert dp.template_hash(template) != dp.template_hash(template, 1)
    assert dp.template_hash(template) != dp.template_hash({"spec": {"x": 1}})


def test_the_same_template_keeps_its_replicaset_and_scaling_changes_only_its_size() -> None:
    dep = deployment(2)
    rs = reached(first(dep))
    plan = dp.plan(dep, [rs], 0, NOW)
    assert (plan.create, plan.scale, plan.delete) == (None, [], [])
    dep["spec"]["replicas"] = 5
    assert [(rs["metadata"]["name"], n) for rs, n in dp.plan(dep, [rs], 0, NOW).scale] == [
        (rs["metadata"]["name"], 5)
    ]
    dep["spec"]["replicas"] = 0
    assert [n for _, n in dp.plan(dep, [rs], 0, NOW).scale] == [0]


@pytest.mark.parametrize(
    ("replicas", "surge", "below", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (2, "25%", "25%", (1, 0)),
        (10, "30%", "30%", (3, 3)),
        (3, 0, 0, (0, 1)),
        (3, 2, 0, (2, 0)),
        (1, "25%", "25%", (1, 0)),
        (3, 0, "10%", (0, 1)),
    ],
)
def test_bounds_round_surge_up_and_unavailable_down(
    replicas: int,
    surge: int | str,
    below: int | str,
    expected: tuple[int, int],
) -> None:
    rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": below}}
    assert bounds(deployment(replicas, strategy=rolling)) == expected


def simulate(replicas: int, surge: int | str, below: int | str, kind: str) -> tuple[int, int]:
    """Roll from one template to another; gives the most pods there were and the fewest available ones."""
    strategy: Object = {"type": kind}
    if kind == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxSurge": surge, "maxUnavailable": below}
    old = reached(first(deployment(replicas, strategy=strategy)))
    dep = deployment(replicas, image="two", strategy=strategy)
    sets, most, least = [old], replicas, replicas
    for _ in range(200):
        plan = dp.plan(dep, sets, 0, NOW)
        if plan.create:
            sets.append(reached(plan.create, 0, created="2026-01-01T00:30:00Z"))
        for rs, count in plan.scale:
            rs["spec"]["replicas"] = count
            ready = min(count, rs["status"]["availableReplicas"])
            rs["status"] = {"replicas": count, "readyReplicas": ready, "availableReplicas": ready}
        most = max(most, sum(rs["spec"]["replicas"] for rs in sets))
        least = min(least, sum(rs["status"]["availableReplicas"] for rs in sets))
        if not plan.create and not plan.scale:
            if all(rs["status"]["availableReplicas"] == rs["spec"]["replicas"] for rs in sets):
                break
            for rs in sets:
                rs["status"] |= dict.fromkeys(("readyReplicas", "availableReplicas"), rs["spec"]["replicas"])
                rs["status"]["replicas"] = rs["spec"]["replicas"]
    assert sets[0]["spec"]["replicas"] == 0
    assert sets[1]["spec"]["replicas"] == replicas
    return most, least


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 20),
    st.one_of(st.integers(0, 5), st.just("25%")),
    st.one_of(st.integers(0, 5), st.just("25%")),
)
def test_a_rolling_update_ends_and_stays_within_its_bounds(
    replicas: int,
    surge: int | str,
    below: int | str,
) -> None:
    most, least = simulate(replicas, surge, below, "RollingUpdate")
    rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": below}}
    above, under = bounds(deployment(replicas, strategy=rolling))
    assert most <= replicas + above
    assert least >= replicas - under


def test_recreate_empties_the_old_set_and_waits_for_its_last_pod() -> None:
    strategy = {"type": "Recreate"}
    old = reached(first(deployment(2, strategy=strategy)))
    dep = deployment(2, image="two", strategy=strategy)
    plan = dp.plan(dep, [old], 2, NOW)
    assert (plan.create, [n for _, n in plan.scale]) == (None, [0])
    old["spec"]["replicas"] = 0
    assert dp.plan(dep, [old], 1, NOW).create is None
    made = dp.plan(dep, [old], 0, NOW).create
    assert made is not None
    assert made["spec"]["replicas"] == 2
    assert made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert simulate(3, 0, 0, "Recreate")[0] == 3


def test_pods_that_never_become_ready_stop_a_rolling_update() -> None:
    old = reached(first(deployment(4)))
    dep = deployment(4, image="two")
    made = dp.plan(dep, [old], 0, NOW).create
    assert made is not None
    assert made["spec"]["replicas"] == 1
    new = reached(made, 0, created="2026-01-01T00:30:00Z")
    (shrunk,) = dp.plan(dep, [old, new], 0, NOW).scale
    assert shrunk == (old, 3)
    old["spec"]["replicas"] = 3
    old["status"] = {"replicas": 3, "readyReplicas": 3, "availableReplicas": 3}
    ((grown, size),) = dp.plan(dep, [old, new], 0, NOW).scale
    assert (grown, size) == (new, 2)
    new["spec"]["replicas"], new["status"]["replicas"] = 2, 2
    assert dp.plan(dep, [old, new], 0, NOW).scale == []


def test_going_back_reuses_the_old_replicaset_with_a_new_revision() -> None:
    dep = deployment(2)
    old = reached(first(dep))
    new = reached(
        dp.plan(deployment(2, image="two"), [old], 0, NOW).create or {}, created="2026-01-01T00:30:00Z"
    )
    old["spec"]["replicas"] = 0
    plan = dp.plan(dep, [old, new], 0, NOW)
    assert plan.create is None
    ((amended, body),) = plan.amend
    assert amended is old
    assert body["metadata"]["annotations"] == {
        "deployment.kubernetes.io/revision": "3",
        "deployment.kubernetes.io/revision-history": "1",
    }
    assert plan.revision == "3"


def test_a_paused_deployment_rolls_nothing_out_but_follows_its_size() -> None:
    old = reached(first(deployment(2)))
    plan = dp.plan(deployment(3, image="two", paused=True), [old], 0, NOW)
    assert plan.create is None
    assert plan.scale == [(old, 3)]


def test_old_empty_sets_beyond_the_limit_go_and_a_dying_deployment_does_nothing() -> None:
    dep = deployment(1, revisionHistoryLimit=1)
    sets = [reached(first(dep), created="2026-01-01T00:50:00Z")]
    for number in range(3):
        sets.append(
            replicaset(
                f"old{number}",
                0,
                owner="uid-d",
                template={"spec": {"n": number}},
                annotations={"deployment.kubernetes.io/revision": str(number + 1)},
            )
        )
    assert [rs["metadata"]["name"] for rs in dp.plan(dep, sets, 0, NOW).delete] == ["old0", "old1"]
    dep["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    plan = dp.plan(dep, sets, 0, NOW)
    assert (plan.create, plan.scale, plan.delete) == (None, [], [])


def test_sets_of_other_deployments_are_not_touched() -> None:
    stranger = replicaset("other", 3, owner="uid-other", template=deployment()["spec"]["template"])
    assert claim(deployment(), [stranger]) == Claims()


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_the_status_tells_counts_availability_and_progress() -> None:
    dep = deployment(2)
    rs = reached(first(dep), 1)
    status, again = status_of(dep, [rs], rs, NOW)
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "unavailableReplicas": 1,
        "terminatingReplicas": 0,
    }
    assert conditions(status) == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }
    assert again == 600
    done, again = status_of(dep | {"status": status}, [reached(first(dep))], rs, NOW + 1)
    assert conditions(done) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert "unavailableReplicas" not in done
    assert again is None
    same, _ = status_of(dep | {"status": done}, [reached(first(dep))], rs, NOW + 50)
    assert same == done, "times move only when something changes"


def test_a_rollout_that_does_not_move_is_late_after_its_deadline() -> None:
    dep = deployment(2, progressDeadlineSeconds=10)
    rs = reached(first(dep), 0)
    status, again = status_of(dep, [rs], rs, NOW)
    assert again == 10
    later, again = status_of(dep | {"status": status}, [rs], rs, NOW + 4)
    assert (conditions(later)["Progressing"][0], again) == ("True", 6)
    late, again = status_of(dep | {"status": later}, [rs], rs, NOW + 11)
    assert conditions(late)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert again is None
    still, _ = status_of(dep | {"status": late}, [rs], rs, NOW + 50)
    assert still == late
    moved, _ = status_of(dep | {"status": late}, [reached(first(dep), 1)], rs, NOW + 60)
    assert conditions(moved)["Progressing"] == ("True", "ReplicaSetUpdated")


def test_a_replicaset_makes_what_is_missing_and_counts_only_living_pods_of_its_own() -> None:
    rs = replicaset(replicas=3)
    pods = [
        pod("a", owner="uid-rs"),
        pod("b", owner="uid-rs", phase="Failed"),
        pod("c", owner="uid-rs", deleted=True),
        pod("d", owner="uid-other"),
    ]
    plan = rsc.plan(rs, claim(rs, pods).mine, NOW)
    assert (plan.create, plan.delete) == (2, [])
    assert plan.status == {
        "replicas": 1,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "observedGeneration": 1,
        "terminatingReplicas": 1,
    }


def test_a_pod_of_a_replicaset_has_the_templates_labels_and_one_owner() -> None:
    rs = replicaset(
        template={
            "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
            "spec": {"containers": [{"image": "x"}]},
        }
    )
    made = pod_from(rs, rs["spec"]["template"])
    assert made["metadata"] == {
        "generateName": "rs-",
        "namespace": "default",
        "labels": {"app": "web"},
        "annotations": {"a": "b"},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "rs",
                "uid": "uid-rs",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert made["spec"] == {"containers": [{"image": "x"}]}


def test_a_pod_nobody_controls_is_adopted_when_it_is_selected() -> None:
    rs, moved = replicaset(replicas=1), pod("moved", labels={"app": "x"}, owner="uid-rs")
    found = claim(rs, [pod("stray"), pod("other", labels={"app": "x"}), moved, pod("ended", phase="Failed")])
    assert [p["metadata"]["name"] for p in found.adopt] == ["stray"]
    assert (found.mine, found.release) == (found.adopt, [moved])
    plan = rsc.plan(rs, found.mine, NOW)
    assert (plan.create, plan.delete) == (0, [])
    rs["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert claim(rs, [pod("stray"), moved]) == Claims(mine=[moved])


def test_scaling_down_removes_the_least_useful_pods_first() -> None:
    kinds = [
        pod("unassigned", node="", ready=False, phase="Pending"),
        pod("pending", ready=False, phase="Pending"),
        pod("unready", ready=False),
        pod("crowded", ready_at="2026-01-01T00:00:05Z", node="n1"),
        pod("crowd", node="n1"),
        pod("newer", node="n2", ready_at="2026-01-01T00:00:09Z"),
        pod("older", node="n3"),
    ]
    cheap = pod("cheap", node="n4")
    cheap["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "-5"}
    odd = pod("odd", node="n5", created="2026-01-01T00:00:30Z")
    odd["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "nonsense"}
    names = [p["metadata"]["name"] for p in rsc.first_to_go([*reversed(kinds), cheap, odd])]
    assert names == ["unassigned", "pending", "unready", "cheap", "crowded", "crowd", "newer", "odd", "older"]


def test_a_pod_is_available_only_after_min_ready_seconds_and_the_plan_says_when() -> None:
    rs = replicaset(replicas=1, min_ready=30)
    young = pod(owner="uid-rs", ready_at=stamp_of(NOW - 10))
    plan = rsc.plan(rs, [young], NOW)
    assert plan.status is not None
    assert "availableReplicas" not in plan.status
    assert plan.again == 20
    plan = rsc.plan(rs, [young], NOW + 20)
    assert plan.status is not None
    assert plan.status["availableReplicas"] == 1


def test_a_right_status_is_not_written_again() -> None:
    rs = replicaset(replicas=1)
    first_plan = rsc.plan(rs, [pod(owner="uid-rs")], NOW)
    rs["status"] = first_plan.status
    assert rsc.plan(rs, [pod(owner="uid-rs")], NOW).status is None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "b", "operator": "NotIn", "values": ["1"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "DoesNotExist"}, True),
        ({"key": "a", "operator": "Gt", "values": ["0"]}, True),
        ({"key": "a", "operator": "Lt", "values": ["x"]}, False),
        ({"key": "b", "operator": "Gt", "values": ["0"]}, False),
        ({"key": "a", "operator": "Lt", "values": []}, False),
        ({"key": "a", "operator": "Strange"}, False),
    ],
)
def test_rules_of_selectors(rule: Object, expected: bool) -> None:
    assert satisfies(rule, {"a": "1"}) is expected


def test_an_empty_selector_selects_nothing_and_broken_times_are_zero() -> None:
    assert not matches({}, {"a": "1"})
    assert matches({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": "1"})
    assert seconds_of("yesterday") == seconds_of(None) == 0.0
    assert stamp_of(seconds_of("2026-01-01T00:00:05Z")) == "2026-01-01T00:00:05Z"
