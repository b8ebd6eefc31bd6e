"""Acceptance list, objects: what every Kubernetes API server does on create and update."""

from __future__ import annotations

import pytest

from clusters.tests.test_apiserver_fixture import Server, deployment, deployments, make_map, maps

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

MERGE, STRATEGIC, JSON_PATCH = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
)
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def test_no_token_gets_401_in_kubernetes_words(server: Server) -> None:
    answer = server.session.get(
        server.url + "/api/v1/pods", headers={"Authorization": "Bearer wrong"}, timeout=10
    )
    assert answer.status_code == 401
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/healthz"])
def test_health_says_ok(server: Server, path: str) -> None:
    assert server.session.get(server.url + path, timeout=10).text == "ok"


def test_discovery_names_groups_and_resources(server: Server) -> None:
    assert server.ok("GET", "/version")["major"] == "1"
    assert "v1" in server.ok("GET", "/api")["versions"]
    groups = {group["name"] for group in server.ok("GET", "/apis")["groups"]}
    assert {"apps", "discovery.k8s.io", "coordination.k8s.io", "events.k8s.io"} <= groups
    core = {resource["name"]: resource for resource in server.ok("GET", "/api/v1")["resources"]}
    assert core["services"]["kind"] == "Service" and core["services"]["shortNames"] == ["svc"]
    assert {"watch", "deletecollection"} <= set(core["pods"]["verbs"])
    assert server.ok("GET", "/apis/apps/v1")["groupVersion"] == "apps/v1"


def test_unknown_path_is_404(server: Server) -> None:
    assert server.call("GET", "/apis/nothing.example/v1/things")[0] == 404


def test_start_up_objects_are_there(server: Server) -> None:
    assert server.ok("GET", "/api/v1/namespaces/default")["status"]["phase"] == "Active"
    assert server.ok("GET", "/api/v1/namespaces/kube-system")["metadata"]["labels"] == {
        "kubernetes.io/metadata.name": "kube-system"
    }
    service = server.ok("GET", "/api/v1/namespaces/default/services/kubernetes")
    assert service["spec"]["clusterIP"].endswith(".1")
    assert service["spec"]["ports"][0]["port"] == 443
    slices = server.ok(
        "GET",
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        labelSelector="kubernetes.io/service-name=kubernetes",
    )
    assert slices["items"][0]["endpoints"][0]["addresses"]


def test_create_answers_201_with_uid_time_and_version(server: Server, namespace: str) -> None:
    status, made = server.call("POST", maps(namespace), {"metadata": {"name": "one"}, "data": {"a": "1"}})
    assert status == 201
    assert (made["kind"], made["apiVersion"], made["data"]) == ("ConfigMap", "v1", {"a": "1"})
    metadata = made["metadata"]
    assert metadata["namespace"] == namespace
    assert len(metadata["uid"]) == 36 and metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0
    assert "generation" not in metadata
    read = server.ok("GET", maps(namespace, "one"))
    assert (read["metadata"]["uid"], read["data"]) == (metadata["uid"], made["data"])


def test_create_over_existing_is_already_exists(server: Server, namespace: str) -> None:
    make_map(server, namespace)
    assert server.refused("POST", maps(namespace), {"metadata": {"name": "one"}}) == (
        409,
        "AlreadyExists",
        'configmaps "one" already exists',
    )


def test_missing_object_is_not_found_with_details(server: Server, namespace: str) -> None:
    status, answer = server.call("GET", deployments(namespace, "none"))
    assert (status, answer["message"]) == (404, 'deployments.apps "none" not found')
    assert answer["details"] == {"name": "none", "group": "apps", "kind": "deployments"}


def test_create_in_missing_namespace_is_not_found(server: Server) -> None:
    assert server.refused("POST", maps("missing-namespace"), {"metadata": {"name": "one"}}) == (
        404,
        "NotFound",
        'namespaces "missing-namespace" not found',
    )


def test_namespace_of_body_must_be_that_of_the_path(server: Server, namespace: str) -> None:
    assert server.refused("POST", maps(namespace), {"metadata": {"name": "one", "namespace": "default"}}) == (
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    )


def test_name_is_required(server: Server, namespace: str) -> None:
    assert server.refused("POST", maps(namespace), {"metadata": {}}) == (
        422,
        "Invalid",
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
    )


def test_bad_name_is_told_by_the_rule(server: Server, namespace: str) -> None:
    code, reason, message = server.refused("POST", maps(namespace), {"metadata": {"name": "Big_Name"}})
    assert (code, reason) == (422, "Invalid")
    assert message == (
        'ConfigMap "Big_Name" is invalid: metadata.name: Invalid value: "Big_Name": a lowercase '
        "RFC 1123 subdomain "
        "must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
        "with an alphanumeric "
        "character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )


def test_generate_name_adds_five_signs(server: Server, namespace: str) -> None:
    names = {
        server.ok("POST", maps(namespace), {"metadata": {"generateName": "gen-"}})["metadata"]["name"]
        for _ in range(5)
    }
    assert len(names) == 5
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)


def test_dry_run_answers_but_keeps_nothing(server: Server, namespace: str) -> None:
    made = server.ok("POST", maps(namespace), {"metadata": {"name": "dry"}}, dryRun="All")
    assert made["metadata"]["uid"] and "resourceVersion" not in made["metadata"]
    assert server.call("GET", maps(namespace, "dry"))[0] == 404
    make_map(server, namespace, "wet", a="1")
    changed = server.ok("PATCH", maps(namespace, "wet"), {"data": {"a": "2"}}, MERGE, dryRun="All")
    assert changed["data"] == {"a": "2"}
    server.ok("DELETE", maps(namespace, "wet"), dryRun="All")
    assert server.ok("GET", maps(namespace, "wet"))["data"] == {"a": "1"}


def test_update_replaces_and_counts_up(server: Server, namespace: str) -> None:
    made = make_map(server, namespace, a="1")
    made["data"] = {"b": "2"}
    changed = server.ok("PUT", maps(namespace, "one"), made)
    assert changed["data"] == {"b": "2"}
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


def test_update_that_changes_nothing_keeps_the_version(server: Server, namespace: str) -> None:
    made = make_map(server, namespace, a="1")
    assert server.ok("PUT", maps(namespace, "one"), made)["metadata"] == made["metadata"]


def test_stale_update_conflicts(server: Server, namespace: str) -> None:
    made = make_map(server, namespace, a="1")
    server.ok("PUT", maps(namespace, "one"), {**made, "data": {"a": "2"}})
    assert server.refused("PUT", maps(namespace, "one"), {**made, "data": {"a": "3"}}) == (
        409,
        "Conflict",
        f'Operation cannot be fulfilled on configmaps "one": {MODIFIED}',
    )
    assert server.ok("GET", maps(namespace, "one"))["data"] == {"a": "2"}


def test_update_without_version_is_unconditional(server: Server, namespace: str) -> None:
    make_map(server, namespace, a="1")
    changed = server.ok("PUT", maps(namespace, "one"), {"metadata": {"name": "one"}, "data": {"a": "2"}})
    assert changed["data"] == {"a": "2"} and changed["metadata"]["uid"]


def test_update_of_another_uid_conflicts(server: Server, namespace: str) -> None:
    made = make_map(server, namespace)
    made["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    code, reason, message = server.refused("PUT", maps(namespace, "one"), made)
    assert (code, reason) == (409, "Conflict") and "Precondition failed: UID in precondition" in message


def test_update_of_another_name_is_bad(server: Server, namespace: str) -> None:
    make_map(server, namespace)
    assert server.refused("PUT", maps(namespace, "one"), {"metadata": {"name": "two"}}) == (
        400,
        "BadRequest",
        "the name of the object (two) does not match the name on the URL (one)",
    )


def test_generation_counts_spec_and_not_status(server: Server, namespace: str) -> None:
    made = server.ok("POST", deployments(namespace), deployment("web"))
    assert made["metadata"]["generation"] == 1
    labelled = server.ok("PATCH", deployments(namespace, "web"), {"metadata": {"labels": {"x": "y"}}}, MERGE)
    assert labelled["metadata"]["generation"] == 1
    changed = server.ok("PATCH", deployments(namespace, "web"), {"spec": {"minReadySeconds": 3}}, MERGE)
    assert changed["metadata"]["generation"] == 2
    told = server.ok(
        "PATCH", deployments(namespace, "web") + "/status", {"status": {"collisionCount": 1}}, MERGE
    )
    assert told["metadata"]["generation"] == 2


def test_status_and_spec_are_apart_both_ways(server: Server, namespace: str) -> None:
    server.ok(
        "POST",
        "/api/v1/namespaces/" + namespace + "/services",
        {
            "metadata": {"name": "svc"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.168.2.200"}]}},
        },
    )
    path = f"/api/v1/namespaces/{namespace}/services/svc"
    assert server.ok("GET", path)["status"] == {"loadBalancer": {}}
    told = server.ok(
        "PATCH",
        path + "/status",
        {
            "status": {"loadBalancer": {"ingress": [{"ip": "192.168.2.201"}]}},
            "spec": {"sessionAffinity": "ClientIP"},
        },
        MERGE,
    )
    assert told["status"]["loadBalancer"]["ingress"] == [{"ip": "192.168.2.201", "ipMode": "VIP"}]
    assert told["spec"]["sessionAffinity"] == "None"
    changed = server.ok(
        "PATCH", path, {"spec": {"sessionAffinity": "ClientIP"}, "status": {"loadBalancer": None}}, MERGE
    )
    assert changed["spec"]["sessionAffinity"] == "ClientIP"
    assert changed["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.168.2.201"
    assert server.ok("GET", path + "/status")["metadata"]["name"] == "svc"
