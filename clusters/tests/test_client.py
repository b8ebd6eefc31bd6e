"""The API client: kubeconfig files, typed errors, and a watch that loses nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from clusters.client import (
    AlreadyExists,
    ApiError,
    Client,
    Conflict,
    Expired,
    NotFound,
    Unreachable,
    error_of,
)
from clusters.credentials import KubeconfigError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def kubeconfig(path: Path, **changes: Any) -> Path:
    whole: dict[str, Any] = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    path.write_text(json.dumps(whole | changes))
    return path


def test_a_kubeconfig_gives_server_authority_and_token(tmp_path: Path) -> None:
    data = base64.b64encode(b"PEM").decode()
    clusters = [{"name": "c", "cluster": {"server": "https://h:1/", "certificate-authority-data": data}}]
    client = Client.from_kubeconfig(kubeconfig(tmp_path / "k", clusters=clusters))
    assert (client.server, client._ca, client._token) == ("https://h:1", "PEM", "secret")


def test_authority_and_token_may_be_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("PEM")
    (tmp_path / "token").write_text("from-file\n")
    cluster = {"server": "https://h", "certificate-authority": "ca"}
    client = Client.from_kubeconfig(
        kubeconfig(
            tmp_path / "k",
            clusters=[{"name": "c", "cluster": cluster}],
            users=[{"name": "u", "user": {"tokenFile": "token"}}],
        )
    )
    assert (client._ca, client._token) == ("PEM", "from-file")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"current-context": "gone"}, "no entry 'gone' under 'contexts'"),
        ({"contexts": None}, "no entry 'here'"),
        ({"clusters": [{"name": "c", "cluster": {"server": "h"}}]}, "must be a URL"),
        ({"users": []}, "no entry 'u' under 'users'"),
        ({"users": [{"name": "u", "user": {"tokenFile": "absent"}}]}, "cannot be read"),
        (
            {
                "clusters": [
                    {"name": "c", "cluster": {"server": "https://h", "certificate-authority-data": "%%"}}
                ]
            },
            "cannot be read",
        ),
    ],
)
def test_an_unusable_kubeconfig_is_named_in_one_sentence(
    tmp_path: Path,
    changes: dict[str, Any],
    says: str,
) -> None:
    path = kubeconfig(tmp_path / "k", **changes)
    with pytest.raises(KubeconfigError, match=says) as caught:
        Client.from_kubeconfig(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "{", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(KubeconfigError):
        Client.from_kubeconfig(tmp_path / "k")
    with pytest.raises(KubeconfigError):
        Client.from_kubeconfig(tmp_path / "absent")


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Expired),
        (422, "Invalid", ApiError),
        (500, "InternalError", ApiError),
    ],
)
def test_a_refusal_becomes_its_type_with_the_servers_words(status: int, reason: str, kind: type) -> None:
    error = error_of(status, json.dumps({"kind": "Status", "reason": reason, "message": "so it is"}).encode())
    assert type(error) is kind
    assert (error.status, error.reason, error.message, str(error)) == (status, reason, "so it is", "so it is")


@given(st.integers(400, 599), st.binary(max_size=300))
def test_any_body_of_a_refusal_gives_an_error_with_a_message(status: int, body: bytes) -> None:
    error = error_of(status, body)
    assert error.status == status
    assert isinstance(error.message, str)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Client]:
    """A client of a server that answers everything with ``handler``."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.05)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with Client(f"http://127.0.0.1:{runner.addresses[0][1]}", token="t") as client:
            yield client
    finally:
        await runner.cleanup()


async def test_requests_carry_method_body_selectors_and_token() -> None:
    seen: list[tuple[Any, ...]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(
            (
                request.method,
                request.path_qs,
                request.headers["Authorization"],
                request.headers.get("Content-Type"),
                await request.text(),
            )
        )
        return web.json_response(
            {
                "kind": "PodList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "7"},
                "items": [{"metadata": {"name": "a"}}],
            }
        )

    async with serving(handler) as client:
        items = await client.list("/api/v1/pods", label="a=b", field="spec.nodeName=n")
        await client.create("/c", {"a": 1})
        await client.update("/c/x", {"a": 2})
        await client.patch("/c/x", [{"op": "remove"}], "json")
        await client.patch_status("/c/x", {"status": {}}, "strategic")
        await client.delete("/c/x", grace=0, uid="u")
    assert items == [{"metadata": {"name": "a"}, "apiVersion": "v1", "kind": "Pod"}]
    assert seen[0][:2] == ("GET", "/api/v1/pods?labelSelector=a%3Db&fieldSelector=spec.nodeName%3Dn")
    assert seen[1][0::2] == ("POST", "Bearer t", '{"a":1}')
    assert seen[2][:2] == ("PUT", "/c/x")
    assert seen[3][3:] == ("application/json-patch+json", '[{"op":"remove"}]')
    assert seen[4][1::2] == ("/c/x/status", "application/strategic-merge-patch+json")
    assert json.loads(seen[5][4]) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
    }


async def test_a_server_that_is_down_is_unreachable_and_says_what_was_tried() -> None:
    async with Client("http://127.0.0.1:1", timeout=2) as client:
        with pytest.raises(Unreachable, match="GET /api/v1/pods"):
            await client.get("/api/v1/pods")


async def test_an_answer_that_is_not_json_is_an_error() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    async with serving(handler) as client:
        with pytest.raises(ApiError, match="not JSON"):
            await client.get("/x")


def test_a_client_that_is_not_open_says_how_to_open_it() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        Client("http://h")._open()


class Script:
    """A watched collection: each list and each watch connection answers the next thing written down."""

    def __init__(self, lists: list[tuple[str, list[str]]], watches: list[list[Any]]) -> None:
        self.lists, self.watches, self.asked = lists, watches, []  # type: ignore[var-annotated]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            version, names = self.lists.pop(0)
            items = [thing(name, "1") for name in names]
            meta = {"resourceVersion": version}
            return web.json_response({"kind": "PodList", "items": items, "metadata": meta})
        self.asked.append(request.query["resourceVersion"])
        steps = self.watches.pop(0) if self.watches else []
        if steps and isinstance(steps[0], int):
            return web.json_response({"code": steps[0], "message": "no"}, status=steps[0])
        response = web.StreamResponse()
        await response.prepare(request)
        for step in steps:
            if step == "cut":
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(step)
        return response


def thing(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}}


def line(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


async def events(script: Script, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    async with serving(script) as client:
        watch = client.watch("/api/v1/pods")
        async for kind, value in watch:
            items = value if kind == "SYNC" else [value]
            names = [item["metadata"]["name"] for item in items]
            found.append((kind, names if kind == "SYNC" else names[0]))
            if len(found) == count:
                break
        await watch.aclose()  # type: ignore[attr-defined]
    return found


async def test_a_watch_lists_then_follows_and_resumes_after_a_cut_where_it_was() -> None:
    script = Script(
        [("5", ["a"])],
        [
            [line("ADDED", thing("b", "6")), "cut"],
            [line("MODIFIED", thing("b", "9"))],
            [line("DELETED", thing("b", "11"))],
        ],
    )
    assert await events(script, 4) == [("SYNC", ["a"]), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
    assert script.asked == ["5", "6", "9"]


async def test_a_bookmark_moves_the_place_to_resume_from_and_is_not_told() -> None:
    script = Script(
        [("5", [])],
        [[line("BOOKMARK", {"metadata": {"resourceVersion": "40"}})], [line("ADDED", thing("b", "41"))]],
    )
    assert await events(script, 2) == [("SYNC", []), ("ADDED", "b")]
    assert script.asked == ["5", "40"]


@pytest.mark.parametrize(
    "gone",
    [[410], [line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})]],
)
async def test_a_version_no_longer_kept_leads_to_a_new_list(gone: list[Any]) -> None:
    script = Script([("5", ["a"]), ("50", ["c"])], [gone, [line("ADDED", thing("d", "51"))]])
    assert await events(script, 3) == [("SYNC", ["a"]), ("SYNC", ["c"]), ("ADDED", "d")]
    assert script.asked == ["5", "50"]


async def test_events_may_arrive_in_any_pieces() -> None:
    whole = line("ADDED", thing("b" * 300, "6")) + b"\n" + line("ADDED", thing("c", "7"))
    script = Script([("5", [])], [[whole[:1], whole[1:200], whole[200:-5], whole[-5:]]])
    assert await events(script, 3) == [("SYNC", []), ("ADDED", "b" * 300), ("ADDED", "c")]


async def test_a_server_in_trouble_is_asked_again_and_a_broken_line_is_a_cut() -> None:
    script = Script([("5", [])], [[500], [429], [b"nonsense\n"], [line("ADDED", thing("b", "6"))]])
    assert await events(script, 2) == [("SYNC", []), ("ADDED", "b")]
    assert script.asked == ["5"] * 4


async def test_a_lasting_refusal_is_raised_and_trouble_is_told_once() -> None:
    told: list[str] = []
    script = Script([("5", [])], [[500], [503], [403]])
    async with serving(script) as client:
        with pytest.raises(ApiError) as caught:
            async for _ in client.watch("/api/v1/pods", trouble=told.append):
                pass
    assert caught.value.status == 403
    assert len(told) == 1
    assert "/api/v1/pods" in told[0]
