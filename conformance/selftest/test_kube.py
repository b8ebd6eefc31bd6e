"""The judge's own way to the API, against a small server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from conformance.kube import Kube, KubeError, Mirror, path_of

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}


class Api:
    """Answers lists, watches and creates of pods, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.watchers, self.changed = 0, asyncio.Condition()

    async def watched(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.watchers >= count)

    async def pods(self, request: Any) -> Any:
        self.asked.append((request.method, request.path_qs, request.headers.get("Authorization")))
        if request.method == "POST":
            return web.json_response(await request.json(), status=201)
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": [POD]})
        async with self.changed:
            self.watchers += 1
            self.changed.notify_all()
        answer = web.StreamResponse()
        await answer.prepare(request)
        while (event := await self.events.get()) is not None:
            await answer.write(json.dumps(event).encode() + b"\n")
        return answer

    async def refuse(self, request: Any) -> Any:
        status = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "no"}
        return web.json_response(status, status=422)


@asynccontextmanager
async def standing(tmp_path: Any, api: Any) -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_route("*", "/api/v1/pods", api.pods)
    app.router.add_route("*", "/api/v1/namespaces/n/pods", api.pods)
    app.router.add_route("*", "/api/v1/namespaces/n/services", api.refuse)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    (tmp_path / "kubeconfig").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "sesame"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))
    kube = Kube(tmp_path / "kubeconfig", timeout=2)
    await kube.open()
    try:
        yield kube
    finally:
        kube.close()
        api.events.put_nowait(None)
        await runner.cleanup()


async def test_requests_carry_the_token_and_give_plain_objects(tmp_path: Any) -> None:
    api = Api()
    async with standing(tmp_path, api) as kube:
        assert await kube.create(POD, "n") == POD
    assert api.asked == [("POST", "/api/v1/namespaces/n/pods", "Bearer sesame")]


async def test_a_refusal_is_an_answer_when_tried_and_an_error_when_needed(tmp_path: Any) -> None:
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    async with standing(tmp_path, Api()) as kube:
        answer = await kube.attempt(made, "n")
        assert answer.refusal() == {"code": 422, "reason": "Invalid", "message": "no"}
        with pytest.raises(KubeError, match=r"create Service n/s: 422 Invalid: no"):
            await kube.create(made, "n")


async def test_a_mirror_lists_watches_and_wakes_who_waits(tmp_path: Any) -> None:
    api = Api()
    async with standing(tmp_path, api) as kube:
        mirror = Mirror(kube, "Pod", "v1", selector="a=b")
        assert await mirror.until(lambda known: known.get(("n", "p")), 2, "the listed pod") == POD
        added = {**POD, "metadata": {"name": "q", "namespace": "n"}}
        api.events.put_nowait({"type": "ADDED", "object": added})
        assert await mirror.until(lambda known: known.get(("n", "q")), 2, "the added pod")
        api.events.put_nowait({"type": "DELETED", "object": POD})
        await mirror.until(lambda known: ("n", "p") not in known or None, 2, "the pod gone")
        mirror.close()
    assert any("labelSelector=a%3Db" in path and "resourceVersion=7" in path for _, path, _ in api.asked)


async def test_a_watch_that_ends_is_begun_again_from_a_list(tmp_path: Any) -> None:
    api = Api()
    async with standing(tmp_path, api) as kube:
        mirror = Mirror(kube, "Pod", "v1")
        await mirror.until(lambda known: known or None, 2, "anything")
        api.events.put_nowait({"type": "ERROR", "object": {"code": 410}})
        api.events.put_nowait(None)
        async with asyncio.timeout(2):
            await api.watched(2)
        mirror.close()


async def test_waiting_in_vain_names_what_for(tmp_path: Any) -> None:
    async with standing(tmp_path, Api()) as kube:
        mirror = Mirror(kube, "Pod", "v1")
        with pytest.raises(KubeError, match=r"a miracle: not within 0\.05 s"):
            await mirror.until(lambda known: None, 0.05, "a miracle")
        mirror.close()


async def test_closing_does_not_wait_for_a_watch_that_says_nothing(tmp_path: Any) -> None:
    api = Api()
    async with standing(tmp_path, api) as kube:
        mirror = Mirror(kube, "Pod", "v1")
        async with asyncio.timeout(2):
            await api.watched(1)
        async with asyncio.timeout(0.5):
            await asyncio.to_thread(mirror.close)


async def test_a_server_that_is_not_there_is_said(tmp_path: Any) -> None:
    async with standing(tmp_path, Api()) as kube:
        pass
    again = Kube(kube.kubeconfig, timeout=1)
    await again.open()
    with pytest.raises(KubeError, match="does not answer"):
        await again.request("GET", "/version")
    again.close()


@pytest.mark.parametrize("text", ["", "not: [yaml", "apiVersion: v1\nkind: Config\n"])
async def test_a_wrong_kubeconfig_is_named(tmp_path: Any, text: Any) -> None:
    (tmp_path / "k").write_text(text)
    kube = Kube(tmp_path / "k", timeout=1)
    with pytest.raises(KubeError, match="name one that kubectl accepts"):
        await kube.open()
    kube.close()


def test_paths_of_groups_and_parts() -> None:
    assert path_of("Pod", "v1", "n", "p", "log") == "/api/v1/namespaces/n/pods/p/log"
    assert path_of("EndpointSlice", "discovery.k8s.io/v1") == "/apis/discovery.k8s.io/v1/endpointslices"
