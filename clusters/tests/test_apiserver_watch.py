"""Acceptance list, watches: nothing lost, nothing twice, and a clean end, however many look on."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from pathlib import Path

import aiohttp
import pytest
import requests

from clusters.tests.test_apiserver_fixture import Server, started

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

MERGE = "application/merge-patch+json"


def maps(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def make(server: Server, namespace: str, name: str, **labels: str) -> dict:
    return server.ok("POST", maps(namespace), {"metadata": {"name": name, "labels": labels}})


def version(server: Server, namespace: str) -> str:
    return server.ok("GET", maps(namespace))["metadata"]["resourceVersion"]


def follow(server: Server, path: str, last: str, **query: str) -> list[dict]:
    """The events of a watch up to the one of object ``last``: nothing before it was lost or came twice."""
    found = []
    for event in server.watch(path, timeoutSeconds="10", **query):
        if event["object"]["metadata"]["name"] == last:
            return found
        found.append(event)
    raise AssertionError(f"the watch ended without {last!r}: {found}")


def seen(events: list[dict]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def test_watch_from_a_list_sees_every_later_event_once(server: Server, namespace: str) -> None:
    make(server, namespace, "before")
    start = version(server, namespace)
    make(server, namespace, "a")
    server.ok("PATCH", maps(namespace, "a"), {"data": {"x": "1"}}, MERGE)
    server.ok("DELETE", maps(namespace, "a"))
    make(server, namespace, "z")
    events = follow(server, maps(namespace), "z", resourceVersion=start)
    assert seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions)) and versions[0] > int(start)
    assert events[1]["object"]["data"] == {"x": "1"} == events[2]["object"]["data"]
    assert all(event["object"]["kind"] == "ConfigMap" for event in events)


def test_watch_without_version_begins_with_what_is_there(server: Server, namespace: str) -> None:
    make(server, namespace, "a", tier="x")
    make(server, namespace, "b")
    make(server, namespace, "z", tier="x")
    for start in ({}, {"resourceVersion": "0"}):
        assert seen(follow(server, maps(namespace), "z", labelSelector="tier", **start)) == [("ADDED", "a")]


def test_timeout_ends_the_stream_cleanly(server: Server, namespace: str) -> None:
    begun = time.monotonic()
    assert (
        list(server.watch(maps(namespace), resourceVersion=version(server, namespace), timeoutSeconds="1"))
        == []
    )
    assert 0.9 <= time.monotonic() - begun < 5


def test_object_that_leaves_a_selector_is_deleted_for_its_watchers(server: Server, namespace: str) -> None:
    make(server, namespace, "a", tier="x")
    start = version(server, namespace)
    server.ok("PATCH", maps(namespace, "a"), {"metadata": {"labels": {"tier": "y"}}}, MERGE)
    server.ok("PATCH", maps(namespace, "a"), {"data": {"n": "1"}}, MERGE)
    server.ok("PATCH", maps(namespace, "a"), {"metadata": {"labels": {"tier": "x"}}}, MERGE)
    make(server, namespace, "z", tier="x")
    events = follow(server, maps(namespace), "z", resourceVersion=start, labelSelector="tier=x")
    assert seen(events) == [("DELETED", "a"), ("ADDED", "a")]
    assert events[0]["object"]["metadata"]["labels"] == {"tier": "x"}
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) > int(start)
    whole = follow(server, maps(namespace), "z", resourceVersion=start)
    assert seen(whole) == [("MODIFIED", "a")] * 3


def test_field_selector_and_single_object_watch(server: Server, namespace: str) -> None:
    start = version(server, namespace)
    for name in ("a", "b"):
        make(server, namespace, name)
    by_field = server.watch(maps(namespace), fieldSelector="metadata.name=b", resourceVersion=start)
    assert seen([next(by_field)]) == [("ADDED", "b")]
    assert seen([next(server.watch(maps(namespace, "a"), resourceVersion=start))]) == [("ADDED", "a")]


def test_pods_are_watched_by_their_node(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    start = server.ok("GET", path)["metadata"]["resourceVersion"]
    server.ok(
        "POST",
        path,
        {
            "metadata": {"name": "p"},
            "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "debian"}]},
        },
    )
    server.ok("POST", path + "/p/binding", {"target": {"kind": "Node", "name": "node-x"}})
    events = server.watch(path, resourceVersion=start, fieldSelector="spec.nodeName=node-x")
    assert seen([next(events)]) == [("ADDED", "p")]


def test_too_old_version_is_told_410(server: Server, namespace: str) -> None:
    (event,) = server.watch(maps(namespace), resourceVersion="1", timeoutSeconds="1")
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1")


def test_bookmarks_come_to_those_who_want_them(server: Server, namespace: str) -> None:
    start = version(server, namespace)
    make(server, namespace, "a")
    query = {"resourceVersion": start, "allowWatchBookmarks": "true", "timeoutSeconds": "4"}
    events: list[dict] = []
    for event in server.watch(maps(namespace), **query):
        events.append(event)
        if event["type"] == "BOOKMARK":
            break
    bookmark = events[-1]
    assert seen(events[:-1]) == [("ADDED", "a")]
    assert bookmark["type"] == "BOOKMARK" and bookmark["object"]["kind"] == "ConfigMap"
    newest = bookmark["object"]["metadata"]["resourceVersion"]
    assert int(newest) >= int(events[0]["object"]["metadata"]["resourceVersion"])
    make(server, namespace, "b")
    assert seen([next(server.watch(maps(namespace), resourceVersion=newest))]) == [("ADDED", "b")]


def test_initial_events_end_with_a_marked_bookmark(server: Server, namespace: str) -> None:
    make(server, namespace, "a")
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "fieldSelector": "metadata.name=a",  # every namespace holds kube-root-ca.crt, too
    }
    events = server.watch(maps(namespace), timeoutSeconds="3", **query)
    first, second = next(events), next(events)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    code, _, message = server.refused("GET", maps(namespace), watch="1", sendInitialEvents="true")
    assert (
        code == 422 and "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan" in message
    )


def test_a_slow_reader_is_cut_and_the_server_goes_on(tmp_path: Path) -> None:
    with started(tmp_path, "--watch-history", "40") as server:
        start = server.ok("GET", maps("default"))["metadata"]["resourceVersion"]
        with server.session.get(
            server.url + maps("default"),
            params={"watch": "1", "resourceVersion": start},
            stream=True,
            timeout=30,
        ) as slow:
            text = "x" * 500_000
            server.ok("POST", maps("default"), {"metadata": {"name": "big"}})
            for number in range(60):  # 30 MB: more than sockets hold, more changes than the history keeps
                server.ok("PATCH", maps("default", "big"), {"data": {"a": f"{number}{text}"}}, MERGE)
            told = []
            with pytest.raises((StopIteration, requests.RequestException)):
                lines = slow.iter_lines()
                while True:
                    told.append(json.loads(next(lines)))
            assert len(told) < 61
        (event,) = server.watch(maps("default"), resourceVersion=start, timeoutSeconds="1")
        assert event["object"]["code"] == 410
        assert server.ok("GET", maps("default", "big"))["data"]["a"].startswith("59")
        listed = server.ok("GET", maps("default"))["metadata"]["resourceVersion"]
        server.ok("PATCH", maps("default", "big"), {"data": {"a": "short again"}}, MERGE)
        (event,) = server.watch(maps("default"), resourceVersion=listed, timeoutSeconds="1")
        assert event["object"]["data"]["a"] == "short again", "who lists anew goes on from there"


def test_writer_and_watchers_race_and_nothing_is_lost(server: Server, namespace: str) -> None:
    total, results = 150, []

    def take_part() -> None:
        mine = Server(server.url, server.token, server.ca, server.ours)
        listed = mine.ok("GET", maps(namespace))
        names = [item["metadata"]["name"] for item in listed["items"]]
        for event in mine.watch(
            maps(namespace), resourceVersion=listed["metadata"]["resourceVersion"], timeoutSeconds="8"
        ):
            names.append(event["object"]["metadata"]["name"])
            if names[-1] == "m-last":
                break
        results.append([name for name in names if name.startswith("m-")])

    watchers = []
    for number in range(total):
        if number % 25 == 0:
            watchers.append(threading.Thread(target=take_part))
            watchers[-1].start()
        make(server, namespace, f"m-{number}")
    make(server, namespace, "m-last")
    for watcher in watchers:
        watcher.join(20)
    expected = sorted([f"m-{number}" for number in range(total)] + ["m-last"])
    assert len(results) == len(watchers)
    assert all(sorted(names) == expected for names in results)


async def test_many_watchers_see_every_event(server: Server, namespace: str) -> None:
    watchers, events = 60, 50  # 500 x 200 and how long it takes: ci/bench/apiserver
    context = ssl.create_default_context(cafile=server.ca)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    head = {"Authorization": f"Bearer {server.token}"}
    start = version(server, namespace)
    ready = asyncio.Semaphore(0)
    async with aiohttp.ClientSession(server.url, connector=connector, headers=head) as session:

        async def look_on() -> list[str]:
            query, names = {"watch": "1", "resourceVersion": start, "timeoutSeconds": "60"}, []
            async with session.get(maps(namespace), params=query) as answer:
                ready.release()
                async for line in answer.content:
                    names.append(json.loads(line)["object"]["metadata"]["name"])
                    if len(names) == events:
                        break
            return names

        tasks = [asyncio.create_task(look_on()) for _ in range(watchers)]
        for _ in range(watchers):
            await ready.acquire()
        for number in range(events):
            async with session.post(maps(namespace), json={"metadata": {"name": f"e-{number}"}}) as answer:
                assert answer.status == 201
        seen = await asyncio.gather(*tasks)
    assert seen == [[f"e-{number}" for number in range(events)]] * watchers
