"""A vantage: who answers there, its clock, and what goes wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance import agent
from conformance.probes import Probe
from conformance.selftest.fakes import Loopback, free_port, now, running_agent, vantage_of
from conformance.vantage import Vantage, VantageGone, WrongAgent


async def test_hello_tells_nonce_resolver_and_clock() -> None:
    async with running_agent(nonce="n-1") as here:
        there = await vantage_of(here)
        assert there.nonce == "n-1"
        before = now()
        seen = await there.probe(Probe("tcp", ("127.0.0.1", free_port())))
        assert before - 0.05 <= seen.outcomes[0].at <= now() + 0.05


async def test_another_version_is_one_clear_sentence() -> None:
    here = Loopback(1, answer=(200, json.dumps({"version": "0"}).encode()))
    with pytest.raises(WrongAgent, match=rf"speaks version '0', this suite '{agent.VERSION}'"):
        await vantage_of(here)


@pytest.mark.parametrize("answer", [(200, b"<html>"), (404, b'{"error": "x"}'), (200, b"[]"), (401, b"{}")])
async def test_somebody_else_there_is_the_wrong_agent(answer: Any) -> None:
    with pytest.raises(WrongAgent):
        await vantage_of(Loopback(1, answer=answer))


@pytest.mark.parametrize("answer", [(502, b"bad gateway"), (503, b'{"message": "no endpoints"}')])
async def test_a_proxy_that_cannot_reach_it_says_that_it_is_gone(answer: Any) -> None:
    with pytest.raises(VantageGone):
        await vantage_of(Loopback(1, answer=answer))


async def test_a_dead_agent_is_gone() -> None:
    async with running_agent() as here:
        there = await vantage_of(here)
        here.gone = True
        with pytest.raises(VantageGone, match="does not answer"):
            await there.probe(Probe("tcp", ("127.0.0.1", 1)))


async def test_a_wrong_token_is_refused() -> None:
    async with running_agent() as here:
        with pytest.raises(WrongAgent, match="401"):
            await Vantage("x", here, "wrong", now).hello()


async def test_commands_reach_the_agent() -> None:
    port = free_port()
    async with running_agent() as here:
        there = await vantage_of(here)
        await there.listen(add=(f"tcp:{port}",))
        seen = await there.probe(Probe("tcp", ("127.0.0.1", port)))
        assert seen.outcomes[0].kind == "answered"
        await there.listen(remove=(f"tcp:{port}",))
        await there.ready(False)
        assert (await here.request("GET", "/readyz", timeout=1))[0] == 503
        assert "127.0.0.1" in (await there.resolve("localhost")).addresses
