"""Which endpoints a Service has, in which slices, and that nothing is written without need."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.controllers import endpointslices as es
from clusters.controllers.endpoints import endpoints_for, needs_write
from clusters.tests.controllers_objects import Object, node, pod, service

NODES = {"n0": node("n0", labels={"topology.kubernetes.io/zone": "z0"}), "n1": node("n1")}


def apply(slices: list[Object], changes: es.Changes, numbers: Any) -> list[Object]:
    """What the server would hold after the changes."""
    left = {held["metadata"]["name"]: held for held in slices}
    for held in changes.delete:
        del left[held["metadata"]["name"]]
    for held in changes.update:
        assert held["metadata"]["name"] in left
        left[held["metadata"]["name"]] = held
    for made in changes.create:
        name = f"{made['metadata']['generateName']}{next(numbers)}"
        left[name] = made | {"metadata": made["metadata"] | {"name": name}}
    return list(left.values())


def settled(svc: Object, pods: list[Object], slices: list[Object] | None = None) -> list[Object]:
    numbers = itertools.count(100)
    return apply(slices or [], es.reconcile(svc, pods, NODES, slices or []), numbers)


def test_a_ready_pod_is_one_endpoint_with_everything_it_needs() -> None:
    (made,) = settled(service(), [pod("a", node="n0")])
    assert made["addressType"] == "IPv4"
    assert made["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert made["endpoints"] == [
        {
            "addresses": ["10.42.0.2"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a"},
            "nodeName": "n0",
            "zone": "z0",
        }
    ]
    assert made["metadata"]["labels"] == {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": "web",
            "uid": "uid-web",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert made["metadata"]["generateName"] == "web-"


@pytest.mark.parametrize(
    ("ready", "deleted", "publish", "conditions"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, True, False, (False, False, True)),
        (False, False, True, (True, False, False)),
        (False, True, True, (True, False, True)),
        (True, True, True, (True, True, True)),
    ],
)
def test_conditions_follow_readiness_deletion_and_publishing(
    ready: bool,
    deleted: bool,
    publish: bool,
    conditions: tuple[bool, bool, bool],
) -> None:
    svc = service(publishNotReadyAddresses=publish)
    (made,) = settled(svc, [pod(ready=ready, deleted=deleted)])
    found = made["endpoints"][0]["conditions"]
    assert (found["ready"], found["serving"], found["terminating"]) == conditions


@pytest.mark.parametrize(
    "left_out",
    [pod(ip=None), pod(phase="Failed"), pod(phase="Succeeded"), pod(node="no-such-node"), pod(ip="fd00::1")],
)
def test_ended_addressless_and_lost_pods_are_no_endpoints(left_out: Object) -> None:
    (made,) = settled(service(), [left_out])
    assert made["endpoints"] == []
    assert made["ports"] == []


def test_a_pod_on_a_lost_node_is_published_when_asked() -> None:
    (made,) = settled(service(publishNotReadyAddresses=True), [pod(node="no-such-node")])
    assert len(made["endpoints"]) == 1


def test_a_named_port_gives_one_slice_for_each_number_it_has() -> None:
    svc = service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}])
    old = [pod(f"o{n}", ip=f"10.42.0.{n}", ports=[{"name": "web", "containerPort": 80}]) for n in (2, 3)]
    new = pod("n", ip="10.42.0.9", ports=[{"name": "web", "containerPort": 8080, "protocol": "TCP"}])
    udp = pod("u", ip="10.42.0.8", ports=[{"name": "web", "containerPort": 53, "protocol": "UDP"}])
    found = {
        tuple(p["port"] for p in s["ports"]): len(s["endpoints"]) for s in settled(svc, [*old, new, udp])
    }
    assert found == {(80,): 2, (8080,): 1, (): 1}


def test_a_sidecars_named_port_counts_and_an_init_containers_does_not() -> None:
    port = {"port": 80, "targetPort": "web"}
    sidecar = {"restartPolicy": "Always", "ports": [{"name": "web", "containerPort": 81}]}
    assert es.port_number(pod(spec={"initContainers": [sidecar]}), port) == 81
    assert es.port_number(pod(spec={"initContainers": [sidecar | {"restartPolicy": None}]}), port) is None
    assert es.port_number(pod(), {"port": 80}) == 80


def test_dual_stack_makes_slices_of_both_families() -> None:
    svc = service(ipFamilies=["IPv4", "IPv6"])
    made = settled(svc, [pod(ip=["10.42.0.2", "fd42::2"])])  # type: ignore[arg-type]
    assert {s["addressType"]: s["endpoints"][0]["addresses"] for s in made} == {
        "IPv4": ["10.42.0.2"],
        "IPv6": ["fd42::2"],
    }
    one = settled(service(), [], made)
    assert [s["addressType"] for s in one] == ["IPv4"]


def test_a_headless_service_has_its_label_hostnames_and_maybe_no_ports() -> None:
    svc = service(clusterIP="None", ports=[])
    svc["metadata"]["labels"] = {"team": "a", "kubernetes.io/service-name": "forged"}
    (made,) = settled(svc, [pod(spec={"hostname": "db-0", "subdomain": "web"})])
    assert made["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    assert made["metadata"]["labels"]["team"] == "a"
    assert made["ports"] == []
    assert made["endpoints"][0]["hostname"] == "db-0"
    (other,) = settled(service("other"), [pod(spec={"hostname": "db-0", "subdomain": "web"})])
    assert "hostname" not in other["endpoints"][0]


def test_no_pods_give_one_empty_slice_which_is_then_filled_and_emptied_again() -> None:
    svc = service()
    empty = settled(svc, [])
    assert [(s["endpoints"], s["ports"]) for s in empty] == [([], [])]
    assert not es.reconcile(svc, [], NODES, empty)
    filled = settled(svc, [pod()], empty)
    assert [len(s["endpoints"]) for s in filled] == [1]
    assert filled[0]["metadata"]["name"] == empty[0]["metadata"]["name"]
    again = settled(svc, [], filled)
    assert [(s["endpoints"], s["ports"], s["metadata"]["name"]) for s in again] == [
        ([], [], filled[0]["metadata"]["name"])
    ]


def test_a_change_of_one_pod_writes_one_slice_and_moves_no_other_endpoint() -> None:
    svc = service()
    pods = [pod(f"p{n}", ip=f"10.42.{n // 200}.{n % 200 + 2}") for n in range(250)]
    slices = settled(svc, pods)
    assert sorted(len(s["endpoints"]) for s in slices) == [50, 100, 100]
    pods[120]["status"]["conditions"][0]["status"] = "False"
    changes = es.reconcile(svc, pods, NODES, slices)
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    pods.append(pod("late", ip="10.42.9.9"))
    slices = settled(svc, pods, slices)
    assert sorted(len(s["endpoints"]) for s in slices) == [51, 100, 100]


def test_changed_labels_and_ports_of_the_service_are_written() -> None:
    svc = service()
    slices = settled(svc, [pod()])
    svc["metadata"]["labels"] = {"new": "label"}
    assert len(es.reconcile(svc, [pod()], NODES, slices).update) == 1
    slices = settled(svc, [pod()], slices)
    svc["spec"]["ports"] = [{"port": 80, "targetPort": 8080}]
    changes = es.reconcile(svc, [pod()], NODES, slices)
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    assert changes.update[0]["ports"][0]["port"] == 8080


def test_the_trigger_time_is_on_what_is_written_and_goes_when_unknown() -> None:
    svc = service()
    made = es.reconcile(svc, [pod()], NODES, [], "2026-01-01T00:00:07Z").create[0]
    assert made["metadata"]["annotations"] == {es.TRIGGER: "2026-01-01T00:00:07Z"}
    held = made | {"metadata": made["metadata"] | {"name": "s"}}
    (written,) = es.reconcile(svc, [pod(ready=False)], NODES, [held]).update
    assert written["metadata"]["annotations"] == {}


def test_the_trigger_is_the_earliest_change_since_last_time() -> None:
    seen: dict[str, str] = {}
    svc, early = service(), pod("a", ready_at="2026-01-01T00:00:05Z")
    late = pod("b", ready_at="2026-01-01T00:00:09Z")
    assert es.trigger_time(svc, [], seen) == "2026-01-01T00:00:00Z"
    assert es.trigger_time(svc, [early, late], seen) == "2026-01-01T00:00:05Z"
    assert es.trigger_time(svc, [early, late], seen) is None
    late["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:20Z"
    assert es.trigger_time(svc, [early, late], seen) == "2026-01-01T00:00:20Z"


@pytest.mark.parametrize(
    ("wish", "hints"),
    [
        (None, None),
        ("PreferClose", {"forZones": [{"name": "z0"}]}),
        ("PreferSameZone", {"forZones": [{"name": "z0"}]}),
        ("PreferSameNode", {"forZones": [{"name": "z0"}], "forNodes": [{"name": "n0"}]}),
    ],
)
def test_traffic_distribution_gives_hints_to_ready_endpoints_only(
    wish: str | None, hints: Object | None
) -> None:
    svc = service(trafficDistribution=wish)
    assert settled(svc, [pod()])[0]["endpoints"][0].get("hints") == hints
    assert "hints" not in settled(svc, [pod(ready=False)])[0]["endpoints"][0]


def test_which_services_are_managed_and_what_they_select() -> None:
    assert not es.is_managed(service(selector=None))
    assert not es.is_managed(service(type="ExternalName"))
    assert es.selects(service(), {"app": "web", "x": "y"})
    assert not es.selects(service(), {"app": "other"})
    assert not es.selects(service(), None)


pods_strategy = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["Running", "Failed"]),
        st.sampled_from([80, 8080, None]),
        st.booleans(),
    ),
    max_size=40,
    unique_by=lambda row: row[0],
)
crowds = st.tuples(pods_strategy, st.integers(0, 230))


def made_pods(rows: list[tuple[Any, ...]], crowd: int) -> list[Object]:
    found = [
        pod(f"c{n}", ip=f"10.42.7.{n + 1}", ports=[{"name": "web", "containerPort": 80}])
        for n in range(crowd)
    ]
    for number, ready, deleted, phase, port, addressed in rows:
        found.append(
            pod(
                f"p{number}",
                ip=f"10.42.{number // 200}.{number % 200 + 1}" if addressed else None,
                ready=ready,
                deleted=deleted,
                phase=phase,
                ports=[{"name": "web", "containerPort": port}] if port else [],
            )
        )
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(crowds, min_size=1, max_size=4), st.booleans())
def test_every_pod_is_there_exactly_once_and_a_second_look_writes_nothing(
    rounds: list[tuple[Any, int]],
    publish: bool,
) -> None:
    svc = service(ports=[{"name": "a", "port": 80, "targetPort": "web"}], publishNotReadyAddresses=publish)
    slices: list[Object] = []
    numbers = itertools.count()
    for rows, crowd in rounds:
        pods = made_pods(rows, crowd)
        before = copy.deepcopy(slices)
        changes = es.reconcile(svc, pods, NODES, slices)
        assert slices == before, "what is held must not be changed in place"
        touched = {held["metadata"]["name"] for held in (*changes.update, *changes.delete)}
        assert len(touched) == len(changes.update) + len(changes.delete)
        slices = apply(slices, changes, numbers)
        rows_there = [
            (tuple(p["port"] for p in s["ports"]), e["targetRef"]["name"], e["conditions"]["ready"])
            for s in slices
            for e in s["endpoints"]
        ]
        wanted = []
        for one in pods:
            if one["status"].get("podIP") and one["status"]["phase"] == "Running":
                number = es.port_number(one, svc["spec"]["ports"][0])
                live = one["status"]["conditions"][0]["status"] == "True" and not one["metadata"].get(
                    "deletionTimestamp"
                )
                wanted.append(((number,) if number else (), one["metadata"]["name"], publish or live))
        assert sorted(rows_there) == sorted(wanted)
        assert slices
        assert all(len(s["endpoints"]) <= es.MOST for s in slices)
        assert all(s["endpoints"] for s in slices) or len(slices) == 1
        assert not es.reconcile(svc, pods, NODES, slices), "a second look must find nothing to write"


def test_legacy_endpoints_keep_ready_and_unready_apart_and_drop_terminating_pods() -> None:
    pods = [pod("a", ip="10.42.0.3"), pod("b", ready=False), pod("c", ip="10.42.0.4", deleted=True)]
    found = endpoints_for(service(), pods, NODES)
    (subset,) = found["subsets"]
    assert [row["ip"] for row in subset["addresses"]] == ["10.42.0.3"]
    assert [row["targetRef"]["name"] for row in subset["notReadyAddresses"]] == ["b"]
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert found["metadata"]["labels"] == {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    published = endpoints_for(service(publishNotReadyAddresses=True), pods, NODES)
    assert len(published["subsets"][0]["addresses"]) == 3


def test_legacy_endpoints_stop_at_a_thousand_and_say_so() -> None:
    pods = [pod(f"p{n}", ip=f"10.42.{n // 250}.{n % 250 + 1}", ready=n != 5) for n in range(1003)]
    found = endpoints_for(service(clusterIP="None"), pods, NODES)
    assert len(found["subsets"][0]["addresses"]) == 1000
    assert found["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    assert "service.kubernetes.io/headless" in found["metadata"]["labels"]


def test_legacy_endpoints_are_written_only_when_they_differ() -> None:
    wanted = endpoints_for(service(), [pod()], NODES)
    assert needs_write(None, wanted)
    stored = wanted | {"metadata": wanted["metadata"] | {"resourceVersion": "9", "uid": "u"}}
    assert not needs_write(stored, wanted)
    assert needs_write(stored, endpoints_for(service(), [], NODES))
    assert "subsets" not in endpoints_for(service(), [], NODES)
