"""The queue below all controllers: each key alone, again after errors, one sentence in the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from typing import Any

import pytest

from clusters.client import ApiError, Client, Conflict, NotFound
from clusters.controllers.podcontrol import PodControl, pod_from
from clusters.controllers.runtime import Worker
from clusters.controllers.world import World
from clusters.tests.controllers_objects import pod


async def settle(worker: Worker) -> None:
    """Wait until nothing runs or waits, at most two seconds."""
    end = time.monotonic() + 2
    while worker._running or worker._timers:
        assert time.monotonic() < end, "the worker is not done within 2 s"
        await asyncio.sleep(0.001)


async def test_a_key_is_worked_on_once_at_a_time_and_once_more_when_added_meanwhile() -> None:
    running, most, runs, gate = 0, 0, 0, asyncio.Event()

    async def reconcile(_: Hashable) -> None:
        nonlocal running, most, runs
        running, runs = running + 1, runs + 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    worker = Worker("w", reconcile)
    worker.add("a")
    await asyncio.sleep(0)
    for _ in range(5):
        worker.add("a")
    gate.set()
    await settle(worker)
    assert (most, runs) == (1, 2)


async def test_different_keys_do_not_wait_for_each_other() -> None:
    done: list[Hashable] = []
    gate = asyncio.Event()

    async def reconcile(key: Hashable) -> None:
        if key == "slow":
            await gate.wait()
        done.append(key)

    worker = Worker("w", reconcile)
    worker.add("slow")
    worker.add("quick")
    await asyncio.sleep(0.01)
    assert done == ["quick"]
    gate.set()
    await settle(worker)
    assert done == ["quick", "slow"]


async def test_conflicts_are_tried_again_silently(capfd: pytest.CaptureFixture[str]) -> None:
    tries = 0

    async def reconcile(_: Hashable) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Conflict(409, "Conflict", "stale")

    worker = Worker("w", reconcile)
    worker.add(("d", "a"))
    await settle(worker)
    assert tries == 3
    assert capfd.readouterr().err == ""


async def test_a_lasting_error_is_said_once_and_a_bug_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    tries = 0

    async def refused(_: Hashable) -> None:
        nonlocal tries
        tries += 1
        if tries < 6:
            raise ApiError(403, "Forbidden", "not allowed")

    worker = Worker("Deployment", refused)
    worker.add(("d", "a"))
    await settle(worker)
    assert capfd.readouterr().err == "Deployment d/a: not allowed\n"

    async def broken(_: Hashable) -> None:
        nonlocal tries
        tries += 1
        if tries < 9:
            raise KeyError("spec")

    worker = Worker("Deployment", broken)
    worker.add("a")
    await settle(worker)
    assert capfd.readouterr().err == "Deployment a: KeyError: 'spec'\n"


async def test_a_key_comes_back_when_it_asked_for_it_and_earlier_when_added() -> None:
    runs = 0

    async def reconcile(_: Hashable) -> float | None:
        nonlocal runs
        runs += 1
        return {1: 0.01, 2: 60.0}.get(runs)

    worker = Worker("w", reconcile)
    worker.add("a")
    end = time.monotonic() + 2
    while runs < 2 or not worker._timers:
        assert time.monotonic() < end, "it does not come back by itself"
        await asyncio.sleep(0.001)
    worker.add("a")
    await settle(worker)
    assert runs == 3


async def test_closing_ends_what_runs_and_what_waits() -> None:
    async def reconcile(key: Hashable) -> float:
        if key == "b":
            await asyncio.sleep(60)
        return 60.0

    worker = Worker("w", reconcile)
    worker.add("a")
    worker.add("b")
    await asyncio.sleep(0.01)
    await worker.close()
    assert not worker._running
    assert not worker._timers


class Emptied(Client):
    """A server from which the owner has gone already; it would make whatever it is asked to."""

    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.written: list[str] = []

    async def request(self, method: str, path: str, *rest: Any, **more: Any) -> dict[str, Any]:
        if method == "GET":
            raise NotFound(404, "NotFound", path)
        self.written.append(f"{method} {path}")
        return {}


async def test_nothing_is_made_or_taken_in_for_an_owner_whose_end_was_not_heard_of_yet() -> None:
    async def nothing(_: Hashable) -> None:
        return None

    server = Emptied()
    world = World(server)
    control = PodControl(world, Worker("ReplicaSet", nothing), "ReplicaSet", "replicaset-controller")
    owner = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "rs", "namespace": "default", "uid": "gone"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
    }  # fmt: skip
    stray = pod("stray")
    world.caches["pods"].event("SYNC", [stray])
    with pytest.raises(NotFound):
        await control.claimed(owner)
    with pytest.raises(NotFound):
        await control.change(owner, [pod_from(owner, {"spec": {}})], [stray])
    assert server.written == []
