"""What clients of an API server rely on, one test a promise: the same file for ours and for a real one.

    ACCEPTANCE_KUBECONFIG=FILE pytest clusters/tests/test_apiserver_acceptance.py

judges the server of a kubeconfig with a bearer token; without it, ours is started. Only the HTTP API is used.
A difference between the two is a bug of ours.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.credentials import read_kubeconfig
from clusters.netns.bootstrap import kubeconfig
from clusters.tests.test_apiserver_fixture import Server, deployment, deployments, maps, services, started

MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
PATIENCE = 30.0  # seconds for what a controller of a real cluster does


def of_kubeconfig(path: Path, folder: Path, *, ours: bool) -> Server:
    """The server of a kubeconfig's current context."""
    found = read_kubeconfig(path)
    assert found.token, f"{path}: a bearer token is needed"
    authority = folder / "authority.crt"
    authority.write_text(found.ca or "")
    return Server(found.server, found.token, str(authority), ours)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that is judged."""
    folder = tmp_path_factory.mktemp("acceptance")
    if given := os.environ.get("ACCEPTANCE_KUBECONFIG", ""):
        yield of_kubeconfig(Path(given), folder, ours=False)
        return
    with started(folder, "--bookmark-seconds", "0.5", "--journal", str(folder / "journal")) as running:
        written = folder / "kubeconfig"
        written.write_text(kubeconfig(running.url, Path(running.ca).read_bytes(), "tester", running.token))
        yield of_kubeconfig(written, folder, ours=True)


@pytest.fixture
def space(server: Server) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"accept-{uuid.uuid4().hex[:8]}"
    server.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    server.call("DELETE", f"/api/v1/namespaces/{name}")


def make(server: Server, space: str, name: str, **labels: str) -> Any:
    """A ConfigMap, made."""
    return server.ok("POST", maps(space), {"metadata": {"name": name, "labels": labels}})


def version(server: Server, space: str) -> str:
    """The version of a list."""
    return str(server.ok("GET", maps(space))["metadata"]["resourceVersion"])


def eventually(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"not so after {PATIENCE:g} s"
        time.sleep(0.05)


def seen(server: Server, path: str, count: int, **query: str) -> list[tuple[str, str]]:
    """The first events of a watch but bookmarks: type and name."""
    found = []
    for event in server.watch(path, timeoutSeconds="10", **query):
        if event["type"] != "BOOKMARK":
            found.append((event["type"], event["object"]["metadata"]["name"]))
        if len(found) == count:
            break
    return found


def test_a_namespace_is_made_holds_objects_and_takes_them_with_it(server: Server) -> None:
    name = f"accept-{uuid.uuid4().hex[:8]}"
    made = server.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert made["metadata"]["labels"]["kubernetes.io/metadata.name"] == name
    make(server, name, "one")
    nowhere = server.refused("POST", maps("accept-nowhere"), {"metadata": {"name": "x"}})
    assert nowhere[:2] == (404, "NotFound")
    server.ok("DELETE", f"/api/v1/namespaces/{name}")
    eventually(lambda: server.call("GET", f"/api/v1/namespaces/{name}")[0] == 404)
    assert server.ok("GET", maps(name))["items"] == []


def test_a_creation_is_201(server: Server, space: str) -> None:
    status, made = server.call("POST", maps(space), {"metadata": {"name": "one"}})
    assert status == 201
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")


def test_uid_time_and_generation_are_the_servers(server: Server, space: str) -> None:
    wished = deployment("one")
    wished["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}
    made = server.ok("POST", deployments(space), wished)["metadata"]
    assert uuid.UUID(made["uid"])
    assert made["creationTimestamp"] > "2020"
    assert made["generation"] == 1
    patch = {"spec": {"paused": True}, "metadata": {"generation": 9}}
    changed = server.ok("PATCH", deployments(space, "one"), patch, MERGE)["metadata"]
    assert (changed["uid"], changed["creationTimestamp"]) == (made["uid"], made["creationTimestamp"])
    assert changed["generation"] == 2
    labelled = server.ok("PATCH", deployments(space, "one"), {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert labelled["metadata"]["generation"] == 2


def test_status_leaves_the_generation_alone(server: Server, space: str) -> None:
    made = server.ok("POST", deployments(space), deployment("one"))
    path = deployments(space, "one") + "/status"
    server.ok("PATCH", path, {"status": {"collisionCount": 3}}, MERGE)
    now = server.ok("GET", deployments(space, "one"))["metadata"]
    assert now["generation"] == made["metadata"]["generation"]
    assert now["resourceVersion"] != made["metadata"]["resourceVersion"]


def test_a_stale_put_is_a_conflict(server: Server, space: str) -> None:
    made = make(server, space, "one")
    server.ok("PUT", maps(space, "one"), {**made, "data": {"a": "1"}})
    code, reason, message = server.refused("PUT", maps(space, "one"), {**made, "data": {"a": "2"}})
    assert (code, reason) == (409, "Conflict")
    assert "the object has been modified; please apply your changes to the latest version" in message
    assert server.ok("GET", maps(space, "one"))["data"] == {"a": "1"}


def test_a_name_is_taken_once(server: Server, space: str) -> None:
    make(server, space, "one")
    assert server.refused("POST", maps(space), {"metadata": {"name": "one"}}) == (
        409, "AlreadyExists", 'configmaps "one" already exists')


def test_finalizers_hold_a_deleted_object(server: Server, space: str) -> None:
    body = {"metadata": {"name": "one", "finalizers": ["accept.example/hold"]}}
    server.ok("POST", maps(space), body)
    server.ok("DELETE", maps(space, "one"))
    held = server.ok("GET", maps(space, "one"))["metadata"]
    assert held["deletionTimestamp"]
    assert held["deletionGracePeriodSeconds"] == 0
    server.ok("PATCH", maps(space, "one"), {"metadata": {"finalizers": None}}, MERGE)
    assert server.call("GET", maps(space, "one"))[0] == 404


def test_a_deletion_of_another_uid_is_a_conflict(server: Server, space: str) -> None:
    made = make(server, space, "one")
    wrong = {"preconditions": {"uid": str(uuid.uuid4())}}
    assert server.refused("DELETE", maps(space, "one"), wrong)[:2] == (409, "Conflict")
    server.ok("DELETE", maps(space, "one"), {"preconditions": {"uid": made["metadata"]["uid"]}})


def test_generate_name_makes_names_of_its_own(server: Server, space: str) -> None:
    names = {server.ok("POST", maps(space), {"metadata": {"generateName": "gen-"}})["metadata"]["name"]
             for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)


def test_a_dry_run_answers_and_keeps_nothing(server: Server, space: str) -> None:
    made = server.ok("POST", maps(space), {"metadata": {"name": "one"}}, dryRun="All")
    assert made["metadata"]["uid"]
    assert server.call("GET", maps(space, "one"))[0] == 404
    make(server, space, "two")
    server.ok("PATCH", maps(space, "two"), {"data": {"a": "1"}}, MERGE, dryRun="All")
    server.ok("DELETE", maps(space, "two"), dryRun="All")
    assert "data" not in server.ok("GET", maps(space, "two"))


def test_a_merge_patch_replaces_lists_and_removes_by_null(server: Server, space: str) -> None:
    metadata = {"name": "one", "finalizers": ["a.example/x", "a.example/y"]}
    body = {"metadata": metadata, "data": {"a": "1", "b": "2"}}
    server.ok("POST", maps(space), body)
    patch = {"metadata": {"finalizers": ["a.example/z"]}, "data": {"a": None}}
    changed = server.ok("PATCH", maps(space, "one"), patch, MERGE)
    assert changed["data"] == {"b": "2"}
    assert changed["metadata"]["finalizers"] == ["a.example/z"]
    server.ok("PATCH", maps(space, "one"), {"metadata": {"finalizers": None}}, MERGE)


def test_a_strategic_patch_merges_ports_by_key_and_deletes_by_directive(server: Server, space: str) -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    server.ok("POST", services(space), {"metadata": {"name": "one"}, "spec": {"ports": ports}})
    patch = {"spec": {"ports": [{"port": 81, "targetPort": 8081}, {"port": 80, "$patch": "delete"},
                                {"name": "c", "port": 82}]}}
    changed = server.ok("PATCH", services(space, "one"), patch, STRATEGIC)["spec"]["ports"]
    assert sorted((one["name"], one["port"], one["targetPort"]) for one in changed) == [
        ("b", 81, 8081), ("c", 82, 82)]


def test_a_json_patch_tests_before_it_changes(server: Server, space: str) -> None:
    server.ok("POST", maps(space), {"metadata": {"name": "one"}, "data": {"a": "1"}})
    good = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]
    assert server.ok("PATCH", maps(space, "one"), good, JSON_PATCH)["data"] == {"a": "1", "b": "2"}
    bad = [{"op": "replace", "path": "/data/b", "value": "3"},
           {"op": "test", "path": "/data/a", "value": "9"}]
    assert server.refused("PATCH", maps(space, "one"), bad, JSON_PATCH)[0] == 422
    assert server.ok("GET", maps(space, "one"))["data"] == {"a": "1", "b": "2"}


def test_an_apply_owns_its_fields_and_conflicts_with_another_owner(server: Server, space: str) -> None:
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
    wish = {**head, "data": {"a": "1", "b": "1"}}
    path = maps(space, "one")
    status, _made = server.call("PATCH", path, wish, APPLY, fieldManager="first")
    assert status == 201
    other = {**wish, "data": {"a": "2"}}
    code, reason, message = server.refused("PATCH", path, other, APPLY, fieldManager="second")
    assert (code, reason) == (409, "Conflict")
    assert 'conflict with "first": .data.a' in message
    server.ok("PATCH", path, other, APPLY, fieldManager="second", force="true")
    kept = server.ok("PATCH", path, {**wish, "data": {}}, APPLY, fieldManager="first")
    assert kept["data"] == {"a": "2"}, "the first gave up both; one of them has another owner"


def test_status_and_spec_are_apart_both_ways(server: Server, space: str) -> None:
    wished = {**deployment("one"), "status": {"collisionCount": 5}}
    server.ok("POST", deployments(space), wished)
    path = deployments(space, "one")
    server.ok("PATCH", path, {"spec": {"paused": True}, "status": {"collisionCount": 6}}, MERGE)
    now = server.ok("GET", path)
    assert now["spec"]["paused"] is True
    assert now["status"].get("collisionCount") is None
    patch = {"spec": {"paused": False}, "status": {"collisionCount": 7}}
    server.ok("PATCH", path + "/status", patch, MERGE)
    now = server.ok("GET", path)
    assert (now["spec"]["paused"], now["status"]["collisionCount"]) == (True, 7)


def test_selectors_choose_in_lists(server: Server, space: str) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {})):
        make(server, space, name, **labels)

    def listed(**query: str) -> list[str]:
        return [item["metadata"]["name"] for item in server.ok("GET", maps(space), **query)["items"]
                if item["metadata"]["name"] != "kube-root-ca.crt"]

    assert listed(labelSelector="x=1") == ["a"]
    assert listed(labelSelector="x in (1,2)") == ["a", "b"]
    assert listed(labelSelector="x,x!=2") == ["a"]
    assert listed(labelSelector="!x") == ["c"]
    assert listed(fieldSelector="metadata.name=b") == ["b"]
    assert server.refused("GET", maps(space), fieldSelector="data.a=1")[0] == 400


def test_what_leaves_a_selector_is_deleted_for_its_watchers(server: Server, space: str) -> None:
    start = version(server, space)
    make(server, space, "a", x="1")
    make(server, space, "b", x="2")
    server.ok("PATCH", maps(space, "a"), {"metadata": {"labels": {"x": "2"}}}, MERGE)
    server.ok("PATCH", maps(space, "b"), {"metadata": {"labels": {"x": "1"}}}, MERGE)
    server.ok("DELETE", maps(space, "b"))
    by_label = seen(server, maps(space), 4, resourceVersion=start, labelSelector="x=1")
    assert by_label == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    by_field = seen(server, maps(space), 3, resourceVersion=start, fieldSelector="metadata.name=b")
    assert by_field == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


def test_a_watch_from_a_list_sees_every_later_event_once(server: Server, space: str) -> None:
    make(server, space, "before")
    start = version(server, space)
    expected = []
    for number in range(20):
        make(server, space, f"m-{number}")
        server.ok("PATCH", maps(space, f"m-{number}"), {"data": {"a": "1"}}, MERGE)
        server.ok("DELETE", maps(space, f"m-{number}"))
        expected += [(kind, f"m-{number}") for kind in ("ADDED", "MODIFIED", "DELETED")]
    assert seen(server, maps(space), 60, resourceVersion=start) == expected


def test_a_watch_from_the_beginning_of_time_is_410_or_whole(server: Server, space: str) -> None:
    with server.session.get(server.url + maps(space), params={"watch": "1", "resourceVersion": "1"},
                            stream=True, timeout=30) as answer:
        said = json.loads(next(answer.iter_lines(chunk_size=1)))
    if not server.ours and said.get("type") == "ADDED":  # etcd has compacted nothing yet
        assert said["object"]["metadata"]["name"] == "kube-root-ca.crt", "the first object of a namespace"
        return
    status = said.get("object", said)
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


def test_bookmarks_tell_a_version_to_resume_from(server: Server, space: str) -> None:
    make(server, space, "one")
    start = version(server, space)
    query = {"resourceVersion": start, "allowWatchBookmarks": "true", "timeoutSeconds": "2"}
    events = list(server.watch(maps(space), **query))
    if server.ours:
        assert events, "ours sends one at the end of every watch that asks"
    for event in events:  # a real one sends them once a minute, and promises none
        assert event["type"] == "BOOKMARK"
        assert set(event["object"]["metadata"]) <= {"resourceVersion", "creationTimestamp"}
        assert int(event["object"]["metadata"]["resourceVersion"]) >= int(start)


def test_a_watch_can_begin_with_what_is_there_and_says_where_that_ends(server: Server, space: str) -> None:
    make(server, space, "one")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "timeoutSeconds": "5",
             "allowWatchBookmarks": "true", "fieldSelector": "metadata.name=one"}
    watched = server.watch(maps(space), **query)
    first = next(watched)
    if not server.ours and first["type"] == "ERROR":  # of an etcd that cannot tell how far it is
        assert "RequestWatchProgress is disabled" in first["object"]["message"]
        return
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "one")
    marked = next(watched)
    assert marked["type"] == "BOOKMARK"
    assert marked["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_ends_when_its_time_is_over(server: Server, space: str) -> None:
    start, began = version(server, space), time.monotonic()
    assert [event for event in server.watch(maps(space), resourceVersion=start, timeoutSeconds="1")
            if event["type"] != "BOOKMARK"] == []
    assert 0.9 < time.monotonic() - began < 10


def test_a_long_list_is_whole_and_its_pages_are_of_one_moment(server: Server, space: str) -> None:
    for number in range(250):
        make(server, space, f"m-{number:03}", all="1")
    found, token, versions = [], "", set()
    while True:
        query = {"limit": "60", "labelSelector": "all=1"} | ({"continue": token} if token else {})
        page = server.ok("GET", maps(space), **query)
        found += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        server.call("DELETE", maps(space, "m-249"))  # later pages still hold it
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert found == [f"m-{number:03}" for number in range(250)]
    assert len(versions) == 1


def test_writers_and_watchers_race_and_every_event_is_seen_once(server: Server, space: str) -> None:
    total, results = 90, []

    def take_part() -> None:
        mine = Server(server.url, server.token, server.ca, server.ours)
        listed = mine.ok("GET", maps(space))
        names = [item["metadata"]["name"] for item in listed["items"]]
        start = listed["metadata"]["resourceVersion"]
        while "m-last" not in names:
            for event in mine.watch(maps(space), resourceVersion=start, timeoutSeconds="10"):
                start = event["object"]["metadata"]["resourceVersion"]
                names.append(event["object"]["metadata"]["name"])
                if names[-1] == "m-last":
                    break
        results.append(sorted(name for name in names if name.startswith("m-")))

    watchers = []
    for number in range(total):
        if number % 15 == 0:
            watchers.append(threading.Thread(target=take_part, daemon=True))
            watchers[-1].start()
        make(server, space, f"m-{number}")
    make(server, space, "m-last")
    for watcher in watchers:
        watcher.join(PATIENCE)
    assert results == [sorted([f"m-{number}" for number in range(total)] + ["m-last"])] * len(watchers)
