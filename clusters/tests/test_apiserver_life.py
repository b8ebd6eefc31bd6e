"""The API server killed at random moments: nobody misses a change, sees one twice, or loses what was told."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from clusters.tests.test_apiserver_fixture import Server, begin, maps, service, services, wait_for

LOST = (aiohttp.ClientError, OSError, TimeoutError)
MERGE = {"Content-Type": "application/merge-patch+json"}


class Mortal:
    """A server with a journal that can be killed and begun again on the same socket."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = ("--journal", str(folder / "journal"), *flags)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.process = self._begin()
        wait_for(folder / "certs" / "ca.crt", self.process)
        url = f"https://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = Server(url, "test-token", str(folder / "certs" / "ca.crt"), True)

    def _begin(self) -> subprocess.Popen[bytes]:
        return begin(self.folder, self.socket, *self.flags)

    def kill(self) -> None:
        """SIGKILL, and another life."""
        self.process.kill()
        self.process.wait()
        self.process = self._begin()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.close()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    made = Mortal(tmp_path)
    yield made
    made.end()


@asynccontextmanager
async def session(mortal: Mortal) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=mortal.server.ca)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    head = {"Authorization": f"Bearer {mortal.server.token}"}
    limits = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(mortal.server.url, connector=connector, headers=head,
                                     timeout=limits) as made:
        yield made


async def look_on(http: aiohttp.ClientSession, path: str, version: str, last: str) -> list[Any]:
    """All events from a version on, up to that of the object ``last``, over however many connections."""
    seen: list[Any] = []
    while True:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        try:
            async with http.get(path, params=query) as answer:
                assert answer.status == 200
                async for line in answer.content:
                    event = msgspec.json.decode(line)
                    assert event["type"] != "ERROR", event
                    metadata = event["object"]["metadata"]
                    version = metadata["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        seen.append((event["type"], metadata["name"], int(version)))
                        if metadata["name"] == last:
                            return seen
        except LOST:
            await asyncio.sleep(0.02)  # between two lives


async def write(http: aiohttp.ClientSession, writer: int, count: int, rng: random.Random) -> dict[str, int]:
    """Makes, changes and deletes objects of its own; gives those there must be, with their last version."""
    there: dict[str, int] = {}
    for number in range(count):
        name = f"w{writer}-{number}" if not there or rng.random() < 0.5 else rng.choice(list(there))
        path = maps("default", name)
        if name not in there:
            status, answer = await insist(http, "POST", maps("default"), {"metadata": {"name": name}})
            assert status in (201, 409), answer  # 409: made, and killed before it could say so
            there[name] = int(answer["metadata"]["resourceVersion"]) if status == 201 else 0
        elif rng.random() < 0.4:
            status, answer = await insist(http, "DELETE", path, None)
            assert status in (200, 404), answer
            del there[name]
        else:
            status, answer = await insist(http, "PATCH", path, {"data": {"n": str(number)}})
            assert status == 200, answer
            there[name] = int(answer["metadata"]["resourceVersion"])
    return there


async def insist(http: aiohttp.ClientSession, method: str, path: str, body: Any) -> tuple[int, Any]:
    """One request, asked again when the connection is lost."""
    while True:
        try:
            head = MERGE if method == "PATCH" else {}
            async with http.request(method, path, json=body, headers=head) as answer:
                return answer.status, await answer.json(content_type=None)
        except LOST:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_moments_it_loses_nothing_and_tells_nothing_twice(
    mortal: Mortal, seed: int
) -> None:
    rng, path = random.Random(seed), maps("default")
    async with session(mortal) as http:
        _status, listed = await insist(http, "GET", path, None)
        start = listed["metadata"]["resourceVersion"]
        watching = [asyncio.create_task(look_on(http, path, start, "the-last")) for _ in range(5)]
        writing = [asyncio.create_task(write(http, number, 80, random.Random(f"{seed}/{number}")))
                   for number in range(4)]
        for _ in range(3):
            await asyncio.sleep(rng.uniform(0.0, 0.2))
            await asyncio.to_thread(mortal.kill)
            await insist(http, "GET", "/version", None)
        await asyncio.gather(*writing)
        there = {name: version for task in writing for name, version in task.result().items()}
        await insist(http, "POST", path, {"metadata": {"name": "the-last"}})
        seen = await asyncio.gather(*watching)
        _status, listed = await insist(http, "GET", path, None)
    assert all(events == seen[0] for events in seen), f"seed {seed}: the watchers disagree"
    versions = [version for _kind, _name, version in seen[0]]
    assert versions == sorted(set(versions)), f"seed {seed}: out of order or twice"
    kept: dict[str, int] = {}
    for kind, name, version in seen[0]:
        assert (kind == "ADDED") == (name not in kept), f"seed {seed}: {kind} {name}"
        if kind == "DELETED":
            del kept[name]
        else:
            kept[name] = version
    final = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in listed["items"]}
    final.pop("kube-root-ca.crt")
    assert kept == final, f"seed {seed}: the events lead elsewhere than the list"
    assert set(final) == {*there, "the-last"}, f"seed {seed}"
    assert all(version in (0, final[name]) for name, version in there.items()), f"seed {seed}"


def test_numbers_identities_and_tokens_outlive_it(mortal: Mortal) -> None:
    server = mortal.server
    ports = [server.ok("POST", services("default"), service(f"s{number}", type="NodePort"))["spec"]
             for number in range(20)]
    taken = ports[0]["ports"][0]["nodePort"]
    authority = Path(server.ca).read_bytes()
    asked = {"spec": {"expirationSeconds": 600}}
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    token = server.ok("POST", path, asked)["status"]["token"]
    before = server.ok("GET", "/api/v1/services")
    page = server.ok("GET", services("default"), limit=5)
    mortal.kill()
    server.session.close()
    assert server.ok("GET", "/api/v1/services") == before
    assert Path(server.ca).read_bytes() == authority
    rest = server.ok("GET", services("default"), **{"limit": 50, "continue": page["metadata"]["continue"]})
    assert len(page["items"]) + len(rest["items"]) == 21
    _code, _reason, message = server.refused(
        "POST", services("default"), service("late", [{"port": 80, "nodePort": taken}], type="NodePort"))
    assert "provided port is already allocated" in message
    made = server.ok("POST", services("default"), service("late"))
    assert made["spec"]["clusterIP"] not in {spec["clusterIP"] for spec in ports}
    assert int(made["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
    account = Server(server.url, token, server.ca, True)
    assert account.call("GET", services("default"))[0] == 200


def told_since(server: Server, version: str) -> list[bytes]:
    """The lines of a watch from a version on, read in large pieces."""
    query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "1"}
    answer = server.session.get(server.url + maps("default"), params=query, timeout=30)
    return answer.content.splitlines()


def test_a_history_that_was_written_anew_is_still_the_same_one(mortal: Mortal) -> None:
    server, text = mortal.server, "x" * 300_000
    start = server.ok("GET", maps("default"))["metadata"]["resourceVersion"]
    for number in range(60):  # 18 MB: the file is written anew on the way
        name = f"big-{number % 5}"
        body = {"metadata": {"name": name}, "data": {"a": text}}
        if number >= 5:
            server.ok("DELETE", maps("default", name))
        server.ok("POST", maps("default"), body)
    told = told_since(server, start)
    mortal.kill()
    server.session.close()
    again = told_since(server, start)
    assert len(told) == 60 + 55
    assert again == told
    assert [path.name for path in mortal.folder.glob("journal*")] == ["journal"]
