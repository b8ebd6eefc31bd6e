"""Server-side apply: who owns which field, what is taken away, and who is told of a conflict."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.apiserver.ownership import from_fields, shown, to_fields
from clusters.tests.test_apiserver_fixture import (
    Server,
    deployment,
    deployments,
    maps,
    service,
    services,
)

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def apply(server: Server, path: str, body: Any, manager: str = "one", **query: str) -> Any:
    return server.ok("PATCH", path, body, APPLY, fieldManager=manager, **query)


def owners(obj: dict[str, Any]) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_an_apply_makes_changes_and_takes_away(server: Server, namespace: str) -> None:
    path = maps(namespace, "a")
    answer = server.call("PATCH", path, config(x="1", y="2"), APPLY, fieldManager="one")
    assert answer[0] == 201 and owners(answer[1]) == {"one": {"f:data": {"f:x": {}, "f:y": {}}}}
    (entry,) = answer[1]["metadata"]["managedFields"]
    assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == ("Apply", "v1", "FieldsV1")
    again = apply(server, path, config(x="1", y="2"))
    assert again["metadata"]["resourceVersion"] == answer[1]["metadata"]["resourceVersion"]
    changed = apply(server, path, config(x="3"))
    assert changed["data"] == {"x": "3"}


def test_conflicts_are_told_forced_and_shared(server: Server, namespace: str) -> None:
    path = maps(namespace, "a")
    apply(server, path, config(x="1", y="2"))
    code, reason, message = server.refused("PATCH", path, config(x="9"), APPLY, fieldManager="two")
    assert (code, reason) == (409, "Conflict")
    assert message == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    message = server.refused("PATCH", path, config(x="9", y="9"), APPLY, fieldManager="two")[2]
    assert message == 'Apply failed with 2 conflicts: conflicts with "one":\n- .data.x\n- .data.y'
    shared = apply(server, path, config(x="1"), "two")
    assert owners(shared)["two"] == {"f:data": {"f:x": {}}} and "f:x" in owners(shared)["one"]["f:data"]
    assert apply(server, path, config(y="2"))["data"] == {"x": "1", "y": "2"}  # two still wants x
    forced = apply(server, path, config(x="1", y="9"), "two", force="true")
    assert forced["data"]["y"] == "9" and "one" not in owners(forced)


def test_an_update_takes_ownership(server: Server, namespace: str) -> None:
    path = maps(namespace, "a")
    apply(server, path, config(x="1", y="2"))
    changed = server.ok("PATCH", path, {"data": {"x": "5"}}, MERGE, fieldManager="kubectl-edit")
    assert owners(changed)["kubectl-edit"] == {"f:data": {"f:x": {}}}
    assert owners(changed)["one"] == {"f:data": {"f:y": {}}}
    message = server.refused("PATCH", path, config(x="1"), APPLY, fieldManager="one")[2]
    assert message == 'Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.x'


def test_a_first_apply_meets_what_was_there(server: Server, namespace: str) -> None:
    made = server.ok("POST", maps(namespace), config(x="1"), fieldManager="kubectl-create")
    assert owners(made)["kubectl-create"]["f:data"]["f:x"] == {}
    message = server.refused("PATCH", maps(namespace, "a"), config(x="2"), APPLY, fieldManager="one")[2]
    assert 'conflict with "kubectl-create" using v1: .data.x' in message
    assert apply(server, maps(namespace, "a"), config(x="1", z="3"))["data"] == {"x": "1", "z": "3"}


def test_keyed_lists_merge_item_by_item(server: Server, namespace: str) -> None:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment("web")}
    path = deployments(namespace, "web")
    apply(server, path, body)
    extra = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "template": {"spec": {"containers": [{"name": "main", "env": [{"name": "C", "value": "3"}]}]}}
        },
    }
    both = apply(server, path, extra, "two")
    (container,) = both["spec"]["template"]["spec"]["containers"]
    assert {item["name"] for item in container["env"]} == {"A", "B", "C"} and container[
        "image"
    ] == "nextcloud"
    del body["spec"]["template"]["spec"]["containers"][0]["env"][0]
    (container,) = apply(server, path, body)["spec"]["template"]["spec"]["containers"]
    assert {item["name"] for item in container["env"]} == {"B", "C"}


def test_ports_of_a_service_keep_their_numbers(server: Server, namespace: str) -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 443}]
    body = {"apiVersion": "v1", "kind": "Service", **service(ports=ports, type="NodePort")}
    first = apply(server, services(namespace, "svc"), body)
    body["spec"]["ports"] = [{"name": "b", "port": 443}]
    second = apply(server, services(namespace, "svc"), body)
    assert [port["name"] for port in second["spec"]["ports"]] == ["b"]
    assert second["spec"]["ports"][0]["nodePort"] == first["spec"]["ports"][1]["nodePort"]
    assert second["spec"]["clusterIP"] == first["spec"]["clusterIP"]


def test_what_cannot_be_applied_is_refused(server: Server, namespace: str) -> None:
    path = maps(namespace, "a")
    assert "fieldManager: Required value" in server.refused("PATCH", path, config(), APPLY)[2]
    for body in (b"[]", b"a: [", b"x: &a 1\ny: *a"):
        assert server.refused("PATCH", path, body, APPLY, fieldManager="one")[0] == 400
    wrong = {**config(), "metadata": {"name": "b"}}
    assert server.refused("PATCH", path, wrong, APPLY, fieldManager="one")[0] == 400
    wrong = {**config(), "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}}
    message = server.refused("PATCH", path, wrong, APPLY, fieldManager="one")[2]
    assert message == "metadata.managedFields must be nil"
    dry = apply(server, path, config(x="1"), dryRun="All")
    assert dry["data"] == {"x": "1"} and server.refused("GET", path)[0] == 404
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n"
    assert apply(server, path, text)["data"] == {"x": "y"}


PATHS = st.frozensets(
    st.lists(
        st.sampled_from(["f:spec", "f:a", 'k:{"port":80,"protocol":"TCP"}', 'v:"x"']), min_size=1, max_size=4
    ).map(tuple),
    max_size=6,
)


@given(PATHS)
def test_sets_of_fields_survive_being_written(paths: frozenset[tuple[str, ...]]) -> None:
    assert from_fields(json.loads(json.dumps(to_fields(paths)))) == paths


@given(st.recursive(st.none() | st.text(max_size=3), lambda x: st.dictionaries(st.text(max_size=4), x)))
def test_any_value_is_a_set_of_fields_of_somebody(value: Any) -> None:
    from_fields(value)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("f:spec", "f:replicas"), ".spec.replicas"),
        (
            ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:nodePort"),
            '.spec.ports[port=80,protocol="TCP"].nodePort',
        ),
        (("f:metadata", "f:finalizers", 'v:"x"'), '.metadata.finalizers[="x"]'),
    ],
)
def test_fields_are_named_as_kubernetes_names_them(path: tuple[str, ...], text: str) -> None:
    assert shown(path) == text
