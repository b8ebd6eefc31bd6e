"""The agent against itself on loopback: every kind of probe and every outcome."""

from __future__ import annotations

import asyncio
import base64
import errno
import itertools
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conformance import agent
from conformance.selftest.fakes import TOKEN, Loopback, free_port, running_agent


async def probe(**command: Any) -> list[dict]:
    command.setdefault("timeout", 1)
    return await agent.Prober(command).run()


@asynccontextmanager
async def serving(handle: Any) -> AsyncIterator[Any]:
    """A TCP server on loopback with ``handle(reader, writer)``; gives its port."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_attempts_of_one_source_port_at_their_instants_wait_for_the_one_before() -> None:
    held, own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), free_port()
    with held:
        held.bind(("127.0.0.1", 0))  # it never answers
        target = ["127.0.0.1", held.getsockname()[1]]
        seen = await probe(kind="udp", target=target, source_port=own, count=3, interval=0.01, timeout=0.1)
    gaps = [later["at"] - one["at"] for one, later in itertools.pairwise(seen)]
    assert len(seen) == 3 and min(gaps) >= 0.1


@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_the_echo_tells_its_nonce_and_the_clients_own_address(kind: Any) -> None:
    port = free_port()
    async with running_agent(f"{kind}:{port}", nonce="n-7"):
        seen = await probe(kind=kind, target=["127.0.0.1", port], count=3)
    assert [one["outcome"] for one in seen] == ["answered"] * 3
    assert {one["by"] for one in seen} == {"n-7"}
    assert all(one["peer"] == one["source"] for one in seen)


async def test_each_attempt_has_a_source_port_of_its_own() -> None:
    port = free_port()
    async with running_agent(f"tcp:{port}"):
        seen = await probe(kind="tcp", target=["127.0.0.1", port], count=200, concurrency=20)
    assert len({one["source"] for one in seen}) == 200


async def test_1620_connections_take_at_most_three_seconds() -> None:
    port = free_port()
    async with running_agent(f"tcp:{port}"):
        began = time.monotonic()
        seen = await probe(kind="tcp", target=["127.0.0.1", port], count=1620, timeout=2)
        took = time.monotonic() - began
    assert {one["outcome"] for one in seen} == {"answered"}
    assert took <= 3


async def test_a_connection_stays_open_for_more_lines() -> None:
    port = free_port()
    async with running_agent(f"tcp:{port}", nonce="same"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(b"who\n")
            assert b'"nonce": "same"' in await reader.readline()
        writer.close()


@pytest.mark.parametrize("kind", ["tcp", "udp", "connect", "http"])
async def test_nobody_listening_is_refused(kind: Any) -> None:
    seen = await probe(kind=kind, target=["127.0.0.1", free_port()])
    assert seen[0]["outcome"] == "refused"


async def test_connect_says_nothing_and_asks_nothing() -> None:
    async def silent(reader: Any, writer: Any) -> None:
        writer.close()

    async with serving(silent) as port:
        seen = await probe(kind="connect", target=["127.0.0.1", port])
    assert (seen[0]["outcome"], seen[0]["by"]) == ("answered", "")


async def test_no_answer_in_time_is_a_timeout_and_says_for_what_it_waited() -> None:
    async def never(reader: Any, writer: Any) -> None:
        await reader.read()
        writer.close()

    async with serving(never) as port:
        seen = await probe(kind="tcp", target=["127.0.0.1", port], timeout=0.1)
    assert (seen[0]["outcome"], seen[0]["detail"]) == ("timeout", "waiting for the answer")
    assert 90 <= seen[0]["ms"] <= 500


async def test_closed_before_an_answer_is_closed() -> None:
    async def closes(reader: Any, writer: Any) -> None:
        await reader.readline()
        writer.close()

    async with serving(closes) as port:
        seen = await probe(kind="tcp", target=["127.0.0.1", port])
    assert seen[0]["outcome"] == "closed"


async def test_a_reset_after_opening_is_reset() -> None:
    async def resets(reader: Any, writer: Any) -> None:
        await reader.readline()
        wire = writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with serving(resets) as port:
        seen = await probe(kind="tcp", target=["127.0.0.1", port])
    assert seen[0]["outcome"] == "reset"


async def test_a_stranger_answered_but_has_no_nonce() -> None:
    async def stranger(reader: Any, writer: Any) -> None:
        await reader.readline()
        writer.write(b"220 mail\r\n")
        writer.close()

    async with serving(stranger) as port:
        seen = await probe(kind="tcp", target=["127.0.0.1", port])
    assert (seen[0]["outcome"], seen[0]["by"]) == ("answered", "")
    assert "220 mail" in seen[0]["detail"]


@pytest.mark.parametrize(("number", "word"), [
    (errno.ECONNREFUSED, "refused"), (errno.ECONNRESET, "reset"), (errno.EPIPE, "reset"),
    (errno.EHOSTUNREACH, "unreachable"), (errno.ENETUNREACH, "unreachable"), (errno.ETIMEDOUT, "timeout"),
    (errno.EADDRINUSE, "error"),
])
def test_errors_are_named_by_what_they_mean(number: Any, word: Any) -> None:
    assert agent.meaning(OSError(number, "")) == word


async def test_http_brings_status_size_and_body_home() -> None:
    asked = []

    async def page(reader: Any, writer: Any) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    async with serving(page) as port:
        seen = await probe(
            kind="http", target=["127.0.0.1", port], count=2, concurrency=1, path="/x?t={n}", data=True)
    assert [one["detail"] for one in seen] == ["200, 5 bytes"] * 2
    assert base64.b64decode(seen[0]["data"]) == b"hello"
    assert asked == [b"GET /x?t=0 HTTP/1.1", b"GET /x?t=1 HTTP/1.1"]


async def test_exchange_over_tcp_carries_a_length_and_waits_for_the_whole_answer() -> None:
    async def dns(reader: Any, writer: Any) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        body = await reader.readexactly(length)
        for part in (b"\0\x06re", b"ply", b"!"):
            writer.write(part)
            await writer.drain()
        assert body == b"query"
        writer.close()

    async with serving(dns) as port:
        payload = base64.b64encode(b"query").decode()
        seen = await probe(kind="exchange", protocol="tcp", target=["127.0.0.1", port], payload=payload)
    assert base64.b64decode(seen[0]["data"]) == b"reply!"


async def test_exchange_over_udp_carries_the_bytes_as_they_are() -> None:
    port = free_port()
    async with running_agent(f"udp:{port}"):
        payload = base64.b64encode(b"raw").decode()
        seen = await probe(kind="exchange", protocol="udp", target=["127.0.0.1", port], payload=payload)
    assert b"nonce-1" in base64.b64decode(seen[0]["data"])


async def test_an_open_loop_sends_at_fixed_instants_whatever_becomes_of_earlier_attempts() -> None:
    async def never(reader: Any, writer: Any) -> None:
        await reader.read()
        writer.close()

    async with serving(never) as port:
        seen = await probe(kind="tcp", target=["127.0.0.1", port], count=10, interval=0.02, timeout=0.3)
    due = [number * 0.02 for number in range(10)]
    late = [one["at"] - when for one, when in zip(seen, due, strict=True)]
    # One may be late on a busy machine; had any waited for an earlier one's end, it would be 0.3 s late.
    assert min(late) >= 0 and statistics.median(late) < 0.02 and max(late) < 0.2


async def test_a_given_source_port_is_used() -> None:
    port, own = free_port(), free_port()
    async with running_agent(f"udp:{port}"):
        seen = await probe(kind="udp", target=["127.0.0.1", port], source_port=own, count=2, concurrency=1)
    assert {one["peer"] for one in seen} == {f"127.0.0.1:{own}"}


@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_no_attempt_comes_from_the_port_of_one_that_failed_at_the_same_target(kind: str) -> None:
    port = free_port()
    target = ("127.0.0.1", port)
    agent._SPENT.pop((kind, target), None)  # an earlier test may have been given the same free port
    for one in await probe(kind=kind, target=list(target), count=5):
        assert one["outcome"] == "refused"
    spent = agent._SPENT[kind, target]
    assert len(spent) == 5

    class Half(dict[int, float]):
        def get(self, key: int, default: float = 0.0) -> float:  # type: ignore[override]
            return float("inf") if key % 8 < 4 else default

    class Every(dict[int, float]):
        def get(self, key: int, default: float = 0.0) -> float:  # type: ignore[override]
            return float("inf")

    agent._SPENT[kind, target] = Half({1: 1.0})
    async with running_agent(f"{kind}:{port}"):
        seen = await probe(kind=kind, target=list(target), count=40)
        agent._SPENT[kind, target] = Every({1: 1.0})
        last = await probe(kind=kind, target=list(target), count=1)
    assert all(int(one["source"].rpartition(":")[2]) % 8 >= 4 for one in seen)
    assert last[0]["outcome"] == "answered"  # where no port is left any will do


async def test_commands_need_the_token_and_readiness_does_not() -> None:
    async with running_agent() as here:
        assert (await here.request("GET", "/v1/hello", timeout=1))[0] == 401
        wrong = {"Authorization": "Bearer no"}
        assert (await here.request("GET", "/v1/hello", headers=wrong, timeout=1))[0] == 401
        for name, value in (("Authorization", f"Bearer {TOKEN}"), ("X-Agent-Token", TOKEN)):
            assert (await here.request("GET", "/v1/hello", headers={name: value}, timeout=1))[0] == 200
        assert (await here.request("GET", "/readyz", timeout=1))[0] == 200


async def test_a_delayed_agent_is_ready_when_told() -> None:
    headers = {"X-Agent-Token": TOKEN, "X-Agent-Command": '{"ready": true}'}
    async with running_agent(more=["--delay-ready"]) as here:
        assert (await here.request("GET", "/readyz", timeout=1))[0] == 503
        await here.request("POST", "/v1/ready", headers=headers, timeout=1)
        assert (await here.request("GET", "/readyz", timeout=1))[0] == 200


@pytest.mark.parametrize(("path", "command"), [
    ("/v1/probe", "not json"), ("/v1/probe", "{}"),
    ("/v1/probe", '{"kind": "icmp", "target": ["::1", 1]}'),
    ("/v1/echo", '{"add": ["sctp:80"]}'), ("/v1/echo", '{"add": ["tcp:99999"]}'), ("/v1/nothing", ""),
    ("/v1/probe", '{"kind": "tcp", "target": ["127.0.0.1", 80], "payload": "%"}'), ("/v1/resolve", "[]"),
])
async def test_nonsense_is_answered_with_400_and_a_sentence(path: Any, command: Any) -> None:
    async with running_agent() as here:
        headers = {"X-Agent-Token": TOKEN, "X-Agent-Command": command}
        status, answer = await here.request("POST", path, headers=headers, timeout=1)
    assert status == 400
    assert b"error" in answer


async def test_a_command_that_is_too_long_is_refused() -> None:
    async with running_agent() as here:
        headers = {"X-Agent-Token": TOKEN, "X-Agent-Command": json.dumps({"name": "a" * 70_000})}
        assert (await here.request("POST", "/v1/resolve", headers=headers, timeout=1))[0] == 431


async def test_listeners_come_and_go_by_command() -> None:
    port = free_port()
    async with running_agent() as here:

        async def told(what: str) -> None:
            headers = {"X-Agent-Token": TOKEN, "X-Agent-Command": json.dumps({what: [f"tcp:{port}"]})}
            assert (await here.request("POST", "/v1/echo", headers=headers, timeout=1))[0] == 200

        await told("add")
        assert (await probe(kind="tcp", target=["127.0.0.1", port]))[0]["outcome"] == "answered"
        await told("remove")
        assert (await probe(kind="tcp", target=["127.0.0.1", port]))[0]["outcome"] == "refused"


async def test_the_systems_resolver_is_asked() -> None:
    found = await agent.resolve("localhost", 4, 1.0)
    assert "127.0.0.1" in found["addresses"]
    assert (await agent.resolve("no-such-name.invalid", 4, 2.0))["addresses"] == []


async def test_a_taken_port_ends_the_agent_with_a_sentence(capsys: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        argv = ["--control", "0", "--token", "t", "--name", "n", "--nonce", "x", "--echo", f"tcp:{port}"]
        assert await asyncio.to_thread(agent.main, argv) == 1
    assert "agent:" in capsys.readouterr().err


async def test_a_workload_that_talks_no_http_is_closed_without_harm() -> None:
    async with running_agent() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x16\x03\x01 no http at all\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 40")
        writer.close()
        assert (await Loopback(here.port).request("GET", "/readyz", timeout=1))[0] == 200
