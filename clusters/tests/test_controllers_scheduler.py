"""Where pods go, and why they cannot; what nodes and owners mean for pods; the cache below it all."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.controllers import garbage, nodes, scheduler
from clusters.controllers.cache import Cache, Change
from clusters.tests.controllers_objects import Object, node, pod

THREE = [node("n0"), node("n1"), node("n2")]


def waiting(name: str = "new", **more: Any) -> Object:
    return pod(name, ip=None, ready=False, phase="Pending", node="", **more)


def test_pods_of_one_owner_are_spread_then_the_emptiest_node_then_node_order() -> None:
    assert scheduler.choose(waiting(), THREE, []).node == "n0"
    others = [pod("a", node="n0"), pod("b", node="n1")]
    assert scheduler.choose(waiting(), THREE, others).node == "n2"
    same = [pod("a", node="n2", owner="rs"), pod("b", node="n1"), pod("c", node="n1"), pod("d", node="n0")]
    assert scheduler.choose(waiting(owner="rs"), THREE, same).node == "n0"
    assert scheduler.choose(waiting(), THREE, [*others, pod("c", node="n2", phase="Failed")]).node == "n2"


def test_the_seeds_two_replicas_land_on_the_first_two_nodes_whatever_else_runs() -> None:
    busy = [pod(f"s{n}", node="n0", namespace="kube-system") for n in range(3)] + [pod("t", node="n1")]
    one = waiting("nextcloud-dev-64c9559b8c-pc296", owner="rs")
    assert scheduler.choose(one, THREE, busy, seed=True).node == "n0"
    placed = pod("nextcloud-dev-64c9559b8c-pc296", owner="rs", node="n0")
    two = waiting("nextcloud-dev-64c9559b8c-qgjbp", owner="rs")
    assert scheduler.choose(two, THREE, [*busy, placed], seed=True).node == "n1"
    assert scheduler.choose(waiting("debian-bash"), THREE, busy, seed=True).node == "n1"
    assert scheduler.choose(one, THREE, busy).node == "n2"


def affinity(kind: str, required: Any) -> Object:
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def terms(**term: Any) -> Object:
    return affinity("nodeAffinity", {"nodeSelectorTerms": [term]})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"nodeSelector": {"kubernetes.io/hostname": "n1"}}, "n1"),
        (
            terms(matchExpressions=[{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]),
            "n2",
        ),
        (terms(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["n1"]}]), "n1"),
        (terms(), None),
        ({"nodeSelector": {"disk": "ssd"}}, None),
    ],
)
def test_selectors_and_required_node_affinity(spec: Object, expected: str | None) -> None:
    found = scheduler.choose(waiting(spec=spec), THREE, [])
    assert found.node == expected
    if expected is None:
        assert (
            found.message == "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
        )


TAINT = {"key": "role", "value": "db", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        (None, False),
        ({"key": "role", "value": "db"}, True),
        ({"key": "role", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "role", "value": "web"}, False),
        ({"key": "role", "value": "db", "effect": "NoExecute"}, False),
        ({"key": "role", "operator": "Exists", "effect": "NoSchedule"}, True),
    ],
)
def test_taints_keep_out_what_does_not_tolerate_them(toleration: Object | None, fits: bool) -> None:
    spec = {"tolerations": [toleration]} if toleration else {}
    found = scheduler.choose(waiting(spec=spec), [node(taints=[TAINT])], [])
    assert (found.node == "n0") is fits
    if not fits:
        assert found.message == "0/1 nodes are available: 1 node(s) had untolerated taint {role: db}."


def test_a_mild_taint_a_cordoned_node_and_a_node_that_is_not_ready() -> None:
    assert (
        scheduler.choose(waiting(), [node(taints=[TAINT | {"effect": "PreferNoSchedule"}])], []).node == "n0"
    )
    mixed = [node("n0", ready=False), node("n1", unschedulable=True)]
    assert scheduler.choose(waiting(), mixed, []).message == (
        "0/2 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable."
    )
    anyway = {"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]}
    assert scheduler.choose(waiting(spec=anyway), mixed, []).node == "n1"
    assert scheduler.choose(waiting(), [], []) == scheduler.Placement(
        None, "no nodes available to schedule pods"
    )


def test_host_ports_are_taken_once_a_node() -> None:
    spec = {"containers": [{"ports": [{"hostPort": 80, "containerPort": 80}]}]}
    first = pod("a", node="n0", spec=spec)
    assert scheduler.choose(waiting(spec=spec), THREE[:2], [first]).node == "n1"
    assert "free ports" in scheduler.choose(waiting(spec=spec), THREE[:1], [first]).message


def test_required_anti_affinity_and_affinity_between_pods() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    apart, together = affinity("podAntiAffinity", [term]), affinity("podAffinity", [term])
    placed = [pod("a", node="n0"), pod("b", node="n1", namespace="elsewhere")]
    assert scheduler.choose(waiting(spec=apart), THREE[:2], placed).node == "n1"
    assert "anti-affinity" in scheduler.choose(waiting(spec=apart), THREE[:1], placed).message
    assert scheduler.choose(waiting(spec=together), THREE, [placed[1], pod("c", node="n2")]).node == "n2"
    assert scheduler.choose(waiting(spec=together), THREE, []).node == "n0"
    lonely = waiting(spec=together, labels={"app": "x"})
    assert "affinity" in scheduler.choose(lonely, THREE, []).message
    zones = [
        node("n0", labels={"zone": "a"}),
        node("n1", labels={"zone": "a"}),
        node("n2", labels={"zone": "b"}),
    ]
    far = affinity("podAntiAffinity", [term | {"topologyKey": "zone"}])
    assert scheduler.choose(waiting(spec=far), zones, [pod("a", node="n0")]).node == "n2"


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (waiting(), True),
        (pod(), False),
        (waiting(deleted=True), False),
        (waiting(spec={"schedulerName": "mine"}), False),
        (waiting(spec={"schedulingGates": [{"name": "g"}]}), False),
    ],
)
def test_which_pods_wait_for_this_scheduler(one: Object, expected: bool) -> None:
    assert scheduler.is_waiting(one) is expected


def test_pods_of_a_node_that_is_not_ready_lose_their_readiness_once() -> None:
    sick, pods = node(ready=False), [pod("a"), pod("b", node="n1"), pod("c", ready=False)]
    assert [p["metadata"]["name"] for p in nodes.pods_to_unready(sick, pods)] == ["a"]
    assert nodes.pods_to_unready(node(), pods) == []
    assert nodes.pods_to_unready(sick | {"status": {}}, pods) == [], "a node that says nothing is not judged"
    (condition,) = nodes.unready_status(pods[0], 0)["status"]["conditions"]
    assert (condition["status"], condition["lastTransitionTime"]) == ("False", "1970-01-01T00:00:00Z")
    assert [p["metadata"]["name"] for p in nodes.pods_without_node("n1", pods)] == ["b"]


def test_an_object_goes_with_its_last_owner() -> None:
    refs = [{"uid": "a"}, {"uid": "b"}]
    item: Object = {"metadata": {"name": "x", "ownerReferences": refs}}
    assert garbage.plan(item, {"a", "b"}) == garbage.Plan(delete=True)
    assert garbage.plan(item, {"a"}) == garbage.Plan(owners=[{"uid": "b"}])
    assert garbage.plan(item, set()) == garbage.Plan()
    assert garbage.plan({"metadata": {"name": "x"}}, {"a"}) == garbage.Plan()
    going = {"metadata": item["metadata"] | {"deletionTimestamp": "now"}}
    assert garbage.plan(going, {"a", "b"}) == garbage.Plan()


def at(name: str, version: int, uid: str = "u", **meta: Any) -> Object:
    return {"metadata": {"namespace": "d", "name": name, "uid": uid, "resourceVersion": str(version), **meta}}


def test_the_cache_takes_the_newest_and_ignores_late_news() -> None:
    cache = Cache()
    assert cache.event("SYNC", [at("a", 3)]) == [Change(None, at("a", 3))]
    assert cache.write(at("a", 5)) == Change(at("a", 3), at("a", 5))
    assert cache.event("MODIFIED", at("a", 4)) == []
    assert cache.event("MODIFIED", at("a", 5)) == []
    assert cache.get(("d", "a")) == at("a", 5)
    assert cache.space("d") == [at("a", 5)]
    assert cache.space("other") == []


def test_what_we_deleted_does_not_come_back_by_a_late_event() -> None:
    cache = Cache()
    cache.event("SYNC", [at("a", 3)])
    assert cache.deleted(at("a", 3)) == [Change(at("a", 3), None)]
    assert cache.event("MODIFIED", at("a", 4)) == []
    assert cache.event("DELETED", at("a", 5)) == []
    assert cache.event("ADDED", at("a", 6, uid="next")) == [Change(None, at("a", 6, uid="next"))]
    assert cache.event("DELETED", at("a", 5)) == [], "the deletion of an earlier object of that name"
    assert cache.has("next")
    assert not cache.has("u")


def test_an_answer_that_comes_after_the_end_it_precedes_brings_nothing_back() -> None:
    cache = Cache()
    cache.event("SYNC", [at("a", 3)])
    cache.event("DELETED", at("a", 6))
    assert cache.write(at("a", 5)) is None, "our own write at 5, answered after somebody's deletion at 6"
    assert cache.get(("d", "a")) is None
    assert cache.write(at("a", 7, uid="next")) == Change(None, at("a", 7, uid="next"))
    assert cache.event("ADDED", at("b", 2, uid="b")) == [Change(None, at("b", 2, uid="b"))], "events are news"


def test_a_new_list_tells_what_went_and_what_changed_meanwhile() -> None:
    cache = Cache()
    cache.event("SYNC", [at("a", 1), at("b", 1, uid="b")])
    changes = cache.event("SYNC", [at("b", 1, uid="b"), at("c", 9, uid="c")])
    assert changes == [Change(None, at("c", 9, uid="c")), Change(at("a", 1), None)]
    assert [change.any["metadata"]["name"] for change in changes] == ["c", "a"]


def test_dependents_are_found_by_their_owner_as_long_as_they_name_it() -> None:
    cache = Cache()
    owned = at("a", 1, ownerReferences=[{"uid": "o"}])
    cache.event("ADDED", owned)
    assert cache.owned_by("o") == [owned]
    cache.event("MODIFIED", at("a", 2))
    assert cache.owned_by("o") == []
