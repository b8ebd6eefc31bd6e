"""Lists and watches against a tiny API server with faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation import watch
from implementation.kubeconfig import Access
from implementation.tests.api import Api
from implementation.tests.build import service_json


class Rig:
    """A watch of Services that remembers what it was told."""

    def __init__(self, api: Api, url: str, kind: watch.Kind = watch.SERVICES) -> None:
        self.api, self.server = api, watch.Server(Access(server=url, token="secret"))
        self.lists: list[list[str]] = []
        self.events: list[tuple[str, str]] = []
        self.task = asyncio.create_task(
            watch.Watch(self.server, kind, self._on_list, self._on_event).run()
        )

    def _on_list(self, part: watch.Part) -> None:
        if part.first:
            self.lists.append([])
        self.lists[-1] += [json.loads(bytes(raw))["metadata"]["name"] for raw in part.items]

    def _on_event(self, event: str, raw: Any) -> None:
        self.events.append((event, json.loads(bytes(raw))["metadata"]["name"]))

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(3000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise TimeoutError("what was waited for did not come")

    async def watching(self, times: int = 1) -> None:
        await self.until(
            lambda: (
                sum("watch" in query for _, query, _ in self.api.requests) >= times
                and bool(self.api._watchers)
            )
        )


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    api = Api()
    api.put("services", service_json("a"))
    made = Rig(api, await api.start())
    await made.watching()
    yield made
    made.task.cancel()
    await made.server.close()
    await api.stop()


async def test_a_list_and_then_its_changes(rig: Rig) -> None:
    rig.api.put("services", service_json("b"))
    rig.api.put("services", service_json("b"))
    rig.api.remove("services", "a")
    await rig.until(lambda: len(rig.events) == 3)

    assert rig.lists == [["a"]]
    assert rig.events == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]
    path, query, token = rig.api.requests[1]
    assert (
        path,
        query["resourceVersion"],
        query["allowWatchBookmarks"],
        token,
    ) == ("/api/v1/services", "11", "true", "Bearer secret")
    assert query["labelSelector"] == "!service.kubernetes.io/service-proxy-name"


async def test_an_ended_watch_goes_on_where_it_was(rig: Rig) -> None:
    rig.api.put("services", service_json("b"))
    await rig.until(lambda: bool(rig.events))
    rig.api.hang_up()
    await rig.watching(2)
    rig.api.put("services", service_json("c"))
    await rig.until(lambda: len(rig.events) == 2)

    assert rig.lists == [["a"]]
    assert rig.api.requests[-1][1]["resourceVersion"] == "12"


async def test_a_bookmark_moves_the_place_and_is_no_change(rig: Rig) -> None:
    rig.api.tell("services", b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"99"}}}')
    rig.api.hang_up()
    await rig.watching(2)

    assert rig.events == []
    assert rig.api.requests[-1][1]["resourceVersion"] == "99"


async def test_a_forgotten_version_means_a_new_list(rig: Rig) -> None:
    rig.api.oldest = 50
    rig.api.remove("services", "a", silently=True)
    rig.api.version = 60
    rig.api.hang_up()
    await rig.until(lambda: len(rig.lists) == 2)

    assert rig.lists == [["a"], []]


async def test_the_same_as_an_event_in_the_stream(rig: Rig) -> None:
    rig.api.tell("services", b'{"type":"ERROR","object":{"kind":"Status","code":410,"message":"gone"}}')
    await rig.until(lambda: len(rig.lists) == 2)


async def test_an_optional_kind_is_empty_until_it_is_known_and_never_empty_for_a_404_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "ABSENT_SECONDS", 0.01)
    api = Api()
    api.status = 404
    rig = Rig(api, await api.start(), watch.Kind("services", "/api/v1/services", optional=True))
    try:
        await rig.until(lambda: [] in rig.lists)
        api.put("services", service_json("a"))
        api.status = 200
        await rig.until(lambda: ["a"] in rig.lists)
        known = len(rig.lists)
        await rig.until(lambda: bool(api._watchers))
        api.status, asked = 404, len(api.requests)
        api.tell("services", b'{"type":"ERROR","object":{"kind":"Status","code":410,"message":"gone"}}')
        await rig.until(lambda: len(api.requests) >= asked + 2)
        assert rig.lists[known:] == [], "a kind that was known is not believed to be gone"
    finally:
        rig.task.cancel()
        await rig.server.close()
        await api.stop()


@pytest.mark.parametrize(
    "line",
    [
        b"rubbish",
        b'{"type":"ADDED"}',
        b'{"type":"ADDED","object":{"metadata":7}}',
        b'{"type":"ERROR","object":{"code":500,"message":"x"}}',
    ],
)
async def test_what_cannot_be_read_never_ends_the_watch(rig: Rig, line: bytes) -> None:
    rig.api.tell("services", line)
    await rig.watching(2)
    rig.api.put("services", service_json("b"))
    await rig.until(lambda: ("ADDED", "b") in rig.events or ["a", "b"] in rig.lists)


async def test_a_server_that_is_away_is_said_once_and_found_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.api.status = 500
    rig.api.hang_up()
    await rig.until(lambda: len(rig.api.requests) >= 6)
    rig.api.status = 200
    rig.api.put("services", service_json("b"))
    await rig.until(lambda: bool(rig.api._watchers))

    assert caplog.text.count("does not give services (watch: 500 told to fail)") == 1
    assert caplog.text.count("answers again after") == 1


@given(st.lists(st.binary(max_size=9)), st.integers(1, 5))
def test_lines_are_found_however_the_bytes_arrive(parts: list[bytes], size: int) -> None:
    stream = b"\n".join(parts) + b"\nrest"

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(stream), size):
            yield stream[start : start + size]

    async def read() -> list[bytes]:
        return [line async for line in watch.lines(chunks())]

    assert [line for line in b"\n".join(parts).split(b"\n") if line.strip()] == asyncio.run(read())
