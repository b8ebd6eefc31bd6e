"""When the loop acts, with a data plane without a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from implementation.dataplane.fake import Fake
from implementation.loop import Loop, Pace, Synced
from implementation.node.health import Health
from implementation.state.known import Known
from implementation.tests.build import raw, service_json, slice_json

QUICK = Pace(look=0.02, retry_first=0.01, retry_longest=0.05)


class Rig:
    """A loop over a fake, fed by hand."""

    def __init__(self, pace: Pace = QUICK, failures: int = 0) -> None:
        self.known, self.fake, self.health = Known("here"), Fake(failures), Health(60)
        self.synced: list[Synced] = []
        self.failed: list[bool] = []
        self.loop = Loop(self.known, self.fake, self.health, pace, self._after, self.failed.append)

    async def _after(self, synced: Synced) -> None:
        self.synced.append(synced)

    def list_all(self) -> None:
        self.known.see_services([raw(service_json())])
        self.loop.listed("services")
        self.known.see_slices([raw(slice_json("web", "10.42.0.1"))])
        self.loop.listed("endpointslices")

    def endpoint(self, address: str) -> None:
        self.known.see_slice("MODIFIED", raw(slice_json("web", address)))
        self.loop.changed()

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise TimeoutError("what was waited for did not come")


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def running(rig: Rig) -> asyncio.Task[None]:
    return asyncio.create_task(rig.loop.run())


async def test_nothing_is_written_before_services_and_slices_are_both_known(rig: Rig) -> None:
    task = await running(rig)
    rig.known.see_services([raw(service_json())])
    rig.loop.listed("services")
    await asyncio.sleep(0.05)
    assert rig.fake.applied == []
    rig.known.see_slices([raw(slice_json("web", "10.42.0.1"))])
    rig.loop.listed("endpointslices")
    await rig.until(lambda: bool(rig.fake.applied))
    task.cancel()

    assert rig.fake.dump() == ["tcp 10.43.0.5:80 -> 10.42.0.1:8080"]
    assert rig.fake.applied[0].full


async def test_nothing_is_written_before_the_node_is_known_where_that_is_needed(rig: Rig) -> None:
    needs = ("services", "endpointslices", "nodes")
    rig.loop = Loop(rig.known, rig.fake, rig.health, QUICK, rig._after, needs=needs)
    task = await running(rig)
    rig.list_all()
    await asyncio.sleep(0.05)
    assert rig.fake.applied == []
    rig.loop.listed("nodes")
    await rig.until(lambda: bool(rig.fake.applied))
    task.cancel()


async def test_what_is_known_is_prepared_while_the_last_list_still_comes(rig: Rig) -> None:
    prepared: list[str] = []
    rig.fake.prepare = lambda services: prepared.extend(name for _, name in services)  # type: ignore[attr-defined]
    task = await running(rig)
    rig.known.see_services([raw(service_json()), raw(service_json("other"))])
    rig.loop.listed("services")
    rig.known.see_slices([raw(slice_json("web", "10.42.0.1"))], last=False)
    rig.loop.listed("endpointslices", whole=False)
    before, applied = sorted(prepared), list(rig.fake.applied)
    rig.known.see_slices([raw(slice_json("other", "10.42.0.2"))], first=False)
    rig.loop.listed("endpointslices")
    await rig.until(lambda: bool(rig.synced))
    task.cancel()

    assert (before, applied) == (["other", "web"], [])
    assert sorted(prepared) == ["other", "other", "web"]
    assert len(rig.synced[0].desired.services) == 2


async def test_an_empty_cluster_is_synced_too() -> None:
    rig = Rig()
    task = await running(rig)
    for kind in ("services", "endpointslices"):
        rig.loop.listed(kind)
    await rig.until(lambda: rig.health.updated is not None)
    task.cancel()


async def test_a_burst_of_changes_needs_few_applies(rig: Rig) -> None:
    task = await running(rig)
    rig.list_all()
    for number in range(200):
        rig.endpoint(f"10.42.0.{number + 1}")
    await rig.until(lambda: rig.fake.dump() == ["tcp 10.43.0.5:80 -> 10.42.0.200:8080"])
    task.cancel()

    assert len(rig.fake.applied) <= 2


async def test_a_change_that_is_none_wakes_nobody(rig: Rig) -> None:
    task = await running(rig)
    rig.list_all()
    await rig.until(lambda: bool(rig.synced))
    rig.endpoint("10.42.0.1")
    await asyncio.sleep(0.05)
    task.cancel()

    assert len(rig.fake.applied) == 1


async def test_a_failed_apply_is_tried_again_whole_and_nothing_is_lost(rig: Rig) -> None:
    task = await running(rig)
    rig.list_all()
    await rig.until(lambda: bool(rig.synced))
    rig.fake.failures = 3
    rig.endpoint("10.42.0.9")
    await rig.until(lambda: len(rig.synced) == 2)
    task.cancel()

    assert rig.failed == [True, False, False]  # only the first was a partial one
    assert rig.fake.applied[-1].full
    assert rig.fake.dump() == ["tcp 10.43.0.5:80 -> 10.42.0.9:8080"]
    assert rig.fake.failures == 0


async def test_a_foreign_flush_is_repaired_whole(rig: Rig) -> None:
    task = await running(rig)
    rig.list_all()
    await rig.until(lambda: bool(rig.synced))
    rig.fake.flush()
    await rig.until(lambda: len(rig.synced) == 2)
    task.cancel()

    assert rig.fake.applied[-1].full
    assert rig.fake.dump() == ["tcp 10.43.0.5:80 -> 10.42.0.1:8080"]


async def test_applies_keep_their_distance_when_told_to() -> None:
    rig = Rig(Pace(shortest=0.1))
    task = await running(rig)
    rig.list_all()
    clock = asyncio.get_running_loop().time
    start = clock()
    await rig.until(lambda: bool(rig.synced))
    rig.endpoint("10.42.0.2")
    await rig.until(lambda: len(rig.synced) == 2)
    task.cancel()

    assert clock() - start >= 0.1


async def test_everything_is_written_again_once_in_a_while() -> None:
    rig = Rig(Pace(look=0.01, full=0.05))
    task = await running(rig)
    rig.list_all()
    await rig.until(lambda: len(rig.synced) == 2)
    task.cancel()

    assert rig.fake.applied[-1].full


async def test_a_node_about_to_go_is_known_at_once(rig: Rig) -> None:
    rig.known.see_node(
        "MODIFIED", raw({"metadata": {"name": "here", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    )
    rig.loop.changed()

    assert not rig.health.eligible


async def test_complaints_are_logged_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    task = await running(rig)
    rig.known.see_services([raw(service_json("bad", ports=[{"port": 0}]))])
    rig.list_all()
    await rig.until(lambda: bool(rig.synced))
    rig.endpoint("10.42.0.7")
    await rig.until(lambda: len(rig.synced) == 2)
    task.cancel()

    assert caplog.text.count("Service default/bad: ports[0].port 0 is not a port") == 1
