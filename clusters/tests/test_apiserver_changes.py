"""Acceptance list, changes: patches of every form, and deletion with all its reasons to wait."""

from __future__ import annotations

from clusters.tests.test_apiserver_fixture import Server, deployment, deployments, eventually, make_map, maps

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

MERGE, STRATEGIC, JSON_PATCH = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
)


def test_merge_patch_removes_by_null(server: Server, namespace: str) -> None:
    make_map(server, namespace, a="1", b="2")
    changed = server.ok("PATCH", maps(namespace, "one"), {"data": {"a": None, "c": "3"}}, MERGE)
    assert changed["data"] == {"b": "2", "c": "3"}


def test_json_patch_tests_and_changes(server: Server, namespace: str) -> None:
    make_map(server, namespace, a="1")
    path = maps(namespace, "one")
    changed = server.ok(
        "PATCH",
        path,
        [
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "move", "from": "/data/a", "path": "/data/b"},
        ],
        JSON_PATCH,
    )
    assert changed["data"] == {"b": "1"}
    code, reason, message = server.refused(
        "PATCH", path, [{"op": "test", "path": "/data/b", "value": "9"}], JSON_PATCH
    )
    assert (code, reason) == (422, "Invalid")
    assert message.startswith("the server rejected our request due to an error in our request")


def test_strategic_patch_merges_containers_and_env_by_name(server: Server, namespace: str) -> None:
    server.ok("POST", deployments(namespace), deployment("web"))
    changed = server.ok(
        "PATCH",
        deployments(namespace, "web"),
        {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "main",
                                "env": [{"name": "B", "value": "9"}, {"name": "A", "$patch": "delete"}],
                            },
                            {"name": "side", "image": "busybox"},
                        ]
                    }
                }
            }
        },
        STRATEGIC,
    )
    containers = {
        container["name"]: container for container in changed["spec"]["template"]["spec"]["containers"]
    }
    assert set(containers) == {"main", "side"}
    assert containers["main"]["image"] == "nextcloud"
    assert containers["main"]["env"] == [{"name": "B", "value": "9"}]


def test_strategic_patch_merges_service_ports_by_port(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    server.ok(
        "POST",
        path,
        {
            "metadata": {"name": "svc"},
            "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
        },
    )
    changed = server.ok(
        "PATCH",
        path + "/svc",
        {"spec": {"ports": [{"port": 81, "$patch": "delete"}, {"port": 80, "targetPort": 8080}]}},
        STRATEGIC,
    )
    assert changed["spec"]["ports"] == [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": 8080}]


def test_patch_with_old_version_conflicts(server: Server, namespace: str) -> None:
    made = make_map(server, namespace, a="1")
    server.ok("PATCH", maps(namespace, "one"), {"data": {"a": "2"}}, MERGE)
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "3"}}
    assert server.refused("PATCH", maps(namespace, "one"), patch, MERGE)[:2] == (409, "Conflict")


def test_unknown_patch_form_is_415(server: Server, namespace: str) -> None:
    make_map(server, namespace)
    assert server.refused("PATCH", maps(namespace, "one"), {}, "text/plain")[:2] == (
        415,
        "UnsupportedMediaType",
    )


def test_finalizers_hold_an_object_until_they_are_gone(server: Server, namespace: str) -> None:
    server.ok("POST", maps(namespace), {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    marked = server.ok("DELETE", maps(namespace, "held"))
    assert marked["metadata"]["deletionTimestamp"] and marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert server.ok("GET", maps(namespace, "held"))["metadata"]["deletionTimestamp"]
    code, _, message = server.refused(
        "PATCH",
        maps(namespace, "held"),
        {"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}},
        MERGE,
    )
    assert code == 422 and "no new finalizers can be added if the object is being deleted" in message
    server.ok("PATCH", maps(namespace, "held"), {"metadata": {"finalizers": None}}, MERGE)
    assert server.call("GET", maps(namespace, "held"))[0] == 404


def test_delete_checks_uid_and_version(server: Server, namespace: str) -> None:
    uid = make_map(server, namespace)["metadata"]["uid"]
    code, reason, message = server.refused(
        "DELETE", maps(namespace, "one"), {"preconditions": {"uid": "other"}}
    )
    assert (code, reason) == (409, "Conflict")
    assert message == (
        f'Operation cannot be fulfilled on configmaps "one": the UID in the precondition (other) does not '
        f"match the UID in record ({uid}). The object might have been deleted and then recreated"
    )
    assert (
        server.refused("DELETE", maps(namespace, "one"), {"preconditions": {"resourceVersion": "1"}})[0]
        == 409
    )
    gone = server.ok("DELETE", maps(namespace, "one"), {"preconditions": {"uid": uid}})
    assert (gone["status"], gone["details"]) == ("Success", {"name": "one", "kind": "configmaps", "uid": uid})


def test_pods_end_gracefully_once_they_have_a_node(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "no-such-node", "containers": [{"name": "c", "image": "debian"}]},
    }
    server.ok("POST", path, pod)
    marked = server.ok("DELETE", path + "/p", {"gracePeriodSeconds": 7})
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 7
    server.ok("DELETE", path + "/p", {"gracePeriodSeconds": 0})
    assert server.call("GET", path + "/p")[0] == 404
    del pod["spec"]["nodeName"]
    server.ok("POST", path, pod)
    server.ok("DELETE", path + "/p")
    assert server.call("GET", path + "/p")[0] == 404


def test_delete_collection_takes_what_the_selector_matches(server: Server, namespace: str) -> None:
    for name, tier in (("a", "x"), ("b", "y"), ("c", "x")):
        server.ok("POST", maps(namespace), {"metadata": {"name": name, "labels": {"tier": tier}}})
    server.ok("DELETE", maps(namespace), labelSelector="tier=x")
    assert [
        item["metadata"]["name"] for item in server.ok("GET", maps(namespace), labelSelector="tier")["items"]
    ] == ["b"]


def test_owned_objects_go_with_their_owner(server: Server, namespace: str) -> None:
    uid = server.ok("POST", deployments(namespace), deployment("owner"))["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "owner", "uid": uid}
    server.ok("POST", maps(namespace), {"metadata": {"name": "owned", "ownerReferences": [owner]}})
    server.ok("DELETE", deployments(namespace, "owner"), {"propagationPolicy": "Background"})
    eventually(lambda: server.call("GET", maps(namespace, "owned"))[0] == 404)


def test_orphans_stay_without_their_owner(server: Server, namespace: str) -> None:
    uid = server.ok("POST", deployments(namespace), deployment("owner"))["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "owner", "uid": uid}
    server.ok("POST", maps(namespace), {"metadata": {"name": "orphan", "ownerReferences": [owner]}})
    server.ok("DELETE", deployments(namespace, "owner"), {"propagationPolicy": "Orphan"})
    eventually(lambda: "ownerReferences" not in server.ok("GET", maps(namespace, "orphan"))["metadata"])


def test_deleting_a_namespace_empties_it(server: Server, namespace: str) -> None:
    make_map(server, namespace)
    server.ok("POST", maps(namespace), {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    assert server.ok("DELETE", f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Terminating"
    eventually(lambda: server.call("GET", maps(namespace, "one"))[0] == 404)
    assert server.refused("POST", maps(namespace), {"metadata": {"name": "late"}}) == (
        403,
        "Forbidden",
        f'configmaps "late" is forbidden: unable to create new content in namespace {namespace} because '
        "it is being terminated",
    )
    server.ok("PATCH", maps(namespace, "held"), {"metadata": {"finalizers": None}}, MERGE)
    eventually(lambda: server.call("GET", f"/api/v1/namespaces/{namespace}")[0] == 404)


def test_default_namespace_may_not_be_deleted(server: Server) -> None:
    assert server.refused("DELETE", "/api/v1/namespaces/default") == (
        403,
        "Forbidden",
        'namespaces "default" is forbidden: this namespace may not be deleted',
    )
