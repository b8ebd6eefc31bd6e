"""Acceptance list, lists and the rest: selectors, pages, bad input, subresources, the rules of kinds."""

from __future__ import annotations

import pytest

from clusters.tests.test_apiserver_fixture import Server, deployment, deployments, make_map, maps

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

MERGE, STRATEGIC, JSON_PATCH = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
)


def test_selectors_choose_what_a_list_holds(server: Server, namespace: str) -> None:
    for name, labels in (("a", {"tier": "web", "x": "1"}), ("b", {"tier": "db"}), ("c", {})):
        server.ok("POST", maps(namespace), {"metadata": {"name": name, "labels": labels}})

    def chosen(**query: str) -> set[str]:
        return {
            item["metadata"]["name"] for item in server.ok("GET", maps(namespace), **query)["items"]
        } & set("abc")

    assert chosen(labelSelector="tier=web") == {"a"}
    assert chosen(labelSelector="tier!=web") == {"b", "c"}
    assert chosen(labelSelector="tier in (web, db),!x") == {"b"}
    assert chosen(labelSelector="tier notin (db)") == {"a", "c"}
    assert chosen(labelSelector="tier") == {"a", "b"}
    assert chosen(fieldSelector="metadata.name=b") == {"b"}
    assert chosen(fieldSelector="metadata.name!=b", labelSelector="tier") == {"a"}
    assert server.refused("GET", maps(namespace), fieldSelector="data.a=1")[:2] == (400, "BadRequest")
    assert server.refused("GET", maps(namespace), labelSelector="a==b==c")[:2] == (400, "BadRequest")


def test_pages_join_to_one_consistent_list(server: Server, namespace: str) -> None:
    for number in range(7):
        make_map(server, namespace, f"m{number}")
    first = server.ok("GET", maps(namespace), limit=3, labelSelector="!none")
    make_map(server, namespace, "m1a")
    server.ok("DELETE", maps(namespace, "m5"))
    names, page = [item["metadata"]["name"] for item in first["items"]], first
    while token := page["metadata"].get("continue"):
        page = server.ok("GET", maps(namespace), limit=3, labelSelector="!none", **{"continue": token})
        names += [item["metadata"]["name"] for item in page["items"]]
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert [name for name in names if name.startswith("m")] == [f"m{number}" for number in range(7)]
    assert server.refused("GET", maps(namespace), limit=3, **{"continue": "nonsense"})[:2] == (
        400,
        "BadRequest",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"metadata": 3}',
        b'{"data": {"a": 1}}',
        b'{"metadata": {"labels": ["x"]}}',
        b'{"kind": "Pod", "apiVersion": "v1"}',
        b"[" * 5000,
        b'"\\ud800"',
        b'{"metadata": {"name": "\\ud800"}}',
    ],
)
def test_nonsense_gets_a_typed_refusal(server: Server, namespace: str, body: bytes) -> None:
    code, reason, message = server.refused("POST", maps(namespace), body)
    assert (code, reason) in {(400, "BadRequest"), (422, "Invalid")} and message


def test_other_forms_of_a_body_are_415_with_what_is_taken(server: Server, namespace: str) -> None:
    code, reason, message = server.refused("POST", maps(namespace), b"x", "application/xml")
    assert (code, reason) == (415, "UnsupportedMediaType") and "application/json" in message


def test_unknown_fields_are_refused_dropped_or_warned_of(server: Server, namespace: str) -> None:
    body = {"metadata": {"name": "one"}, "datta": {}}
    assert (
        'strict decoding error: unknown field "datta"'
        in server.refused("POST", maps(namespace), body, fieldValidation="Strict")[2]
    )
    assert "datta" not in server.ok("POST", maps(namespace), body, fieldValidation="Warn")


def test_pod_and_deployment_rules(server: Server, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert server.refused("POST", pods, {"metadata": {"name": "p"}, "spec": {}})[2] == (
        'Pod "p" is invalid: spec.containers: Required value'
    )
    bad = deployment("web")
    bad["spec"]["selector"]["matchLabels"] = {"app": "other"}
    code, _, message = server.refused("POST", deployments(namespace), bad)
    assert code == 422
    assert message == (
        'Deployment.apps "web" is invalid: spec.template.metadata.labels: Invalid value: {"app":"web"}: '
        "`selector` does not match template `labels`"
    )
    server.ok("POST", deployments(namespace), deployment("web"))
    code, _, message = server.refused(
        "PATCH",
        deployments(namespace, "web"),
        {
            "spec": {
                "selector": {"matchLabels": {"new": "x"}},
                "template": {"metadata": {"labels": {"new": "x"}}},
            }
        },
        MERGE,
    )
    assert code == 422 and "field is immutable" in message


def test_binding_gives_a_pod_its_node_once(server: Server, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    server.ok(
        "POST",
        pods,
        {
            "metadata": {"name": "p"},
            "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "debian"}]},
        },
    )
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"},
    }
    assert server.call("POST", pods + "/p/binding", binding)[0] == 201
    pod = server.ok("GET", pods + "/p")
    assert pod["spec"]["nodeName"] == "node-1"
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"
    code, reason, message = server.refused("POST", pods + "/p/binding", binding)
    assert (code, reason) == (409, "Conflict")
    assert message.endswith('pod p is already assigned to node "node-1"')


def test_scale_reads_and_writes_replicas(server: Server, namespace: str) -> None:
    server.ok("POST", deployments(namespace), deployment("web", 0))
    path = deployments(namespace, "web") + "/scale"
    assert server.ok("GET", path)["spec"].get("replicas", 0) == 0
    assert server.ok("PATCH", path, {"spec": {"replicas": 2}}, MERGE)["spec"]["replicas"] == 2
    assert server.ok("GET", deployments(namespace, "web"))["spec"]["replicas"] == 2


def test_events_have_two_faces(server: Server, namespace: str) -> None:
    event = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": namespace},
        "reason": "Started",
        "action": "Start",
        "note": "it began",
        "type": "Normal",
        "reportingController": "example.com/tester",
        "reportingInstance": "t-1",
        "eventTime": "2026-01-01T00:00:00.000000Z",
    }
    server.ok("POST", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", event)
    core = server.ok("GET", f"/api/v1/namespaces/{namespace}/events", fieldSelector="involvedObject.name=p")[
        "items"
    ][0]
    assert (core["message"], core["involvedObject"]["kind"]) == ("it began", "Pod")
    assert server.ok("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/e")["note"] == "it began"


def test_verbs_a_resource_lacks_are_405(server: Server, namespace: str) -> None:
    assert server.refused("PUT", maps(namespace), {})[:2] == (405, "MethodNotAllowed")
    make_map(server, namespace)
    assert server.call("DELETE", f"/api/v1/namespaces/{namespace}/services/x/status")[0] in {404, 405}
