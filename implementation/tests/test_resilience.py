"""What must not hurt: restarts under load, flushes, refused transactions, an API server that goes or forgets,
a clock that jumps, very many changes. The proxy is a process, the packets are real."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from implementation.tests.build import service_json, slice_json
from implementation.tests.lab import Node, echo, inside, sh
from implementation.tests.load import Load
from implementation.tests.rig import Rig, get, log, well, write_kubeconfig
from implementation.tests.soak import STEADY, live

pytestmark = pytest.mark.kernel
COUNTED = re.compile(r'sync_proxy_rules_duration_seconds_count\{ip_family="IPv4"\} (\S+)')
SNDBUF = 212_992  # bytes a process without rights may ask for where nobody raised the limit


@pytest.mark.parametrize("sndbuf", [1 << 27, SNDBUF])
def test_a_random_life_ends_as_a_fresh_build_and_hurts_no_service_it_does_not_touch(sndbuf: int) -> None:
    seen = inside(live, sndbuf % 7, 600, 100, sndbuf, timeout=120)

    assert seen["lost"] == [] and seen["tried"] > 100  # 200 a second, as long as it lasted
    assert seen["lived"] == seen["fresh"] and len(seen["lived"]) > 20
    assert sum(seen["events"].values()) == 6
    assert not seen["crashed"]


async def _restarts() -> Any:
    rig = Rig("nftables")
    dns = service_json("dns", clusterIPs=["10.43.0.6"], clusterIP="10.43.0.6")
    dns["spec"]["ports"] = [{"port": 53, "protocol": "UDP"}]
    ends = slice_json("dns", "10.42.0.2", "10.42.0.3")
    ends["ports"][0]["protocol"] = "UDP"
    for kind, value in (("services", dns), ("endpointslices", ends)):
        rig.api.put(kind, value)
    rig.api.put("endpointslices", slice_json("web", "10.42.0.2", "10.42.0.3"))
    write_kubeconfig(await rig.api.start(6443))
    await rig.spawn()
    await rig.until(well)
    load = Load(STEADY, 80, udp=("10.43.0.6", 53))
    began, number = time.monotonic(), 0
    while number < 6 or time.monotonic() - began < 1.5:  # the quicker a restart is, the more of them
        if number % 2:
            rig.process.kill()
            await rig.process.wait()
        else:
            await rig.stop()
        await rig.spawn()
        await rig.until(well)
        number += 1
    await rig.stop()
    return load.end()


def restarts() -> Any:
    Node(2)
    for number in (0, 1):
        echo(f"pod{number}", 8080, f"pod{number}")
    return asyncio.run(_restarts())


def test_restarts_under_load_fail_no_connection_and_move_no_udp_flow() -> None:
    seen = inside(restarts, timeout=60)

    assert seen["lost"] == [] and seen["moved"] == 0
    assert seen["tried"] > 200


async def _many_changes() -> Any:
    rig = Rig("nftables")
    await rig.start()
    await rig.until(well)
    await rig.until(lambda: COUNTED.search(get("http://127.0.0.1:10249/metrics")[1]))
    counts = [await applies()]
    for pause in (0.001, 0):
        for number in range(1000):
            address = f"10.42.{number // 250 + (4 if pause else 8)}.{number % 250 + 1}"
            rig.api.put("endpointslices", slice_json("web", address))
            if pause:
                await asyncio.sleep(pause)
        await rig.until(lambda: f"{address} . 8080" in sh("nft list map ip kp endpoints"))  # noqa: B023
        counts.append(await applies())
    await rig.stop()
    return [counts[1] - counts[0], counts[2] - counts[1], "Traceback" in log()]


async def applies() -> int:
    """How often the proxy has written rules."""
    numbers = (await asyncio.to_thread(get, "http://127.0.0.1:10249/metrics"))[1]
    found = COUNTED.search(numbers)
    assert found
    return int(float(found[1]))


def many_changes() -> Any:
    return asyncio.run(_many_changes())


def test_a_thousand_changes_in_a_second_are_followed_and_a_burst_is_gathered() -> None:
    in_a_second, at_once, crashed = inside(many_changes)

    assert in_a_second <= 1000 and at_once < 100 and not crashed


async def _clock() -> Any:
    rig = Rig("nftables")
    await rig.start("implementation.tests.faulty")
    await rig.until(well)
    rig.process.kill()
    await rig.process.wait()
    await rig.spawn("implementation.tests.faulty", clock=10**9)
    await rig.until(well)
    for address in ("10.42.0.7", "10.42.0.8"):
        value = slice_json("web", address)
        value["metadata"]["annotations"] = {
            "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"
        }
        rig.api.put("endpointslices", value)
        await rig.until(lambda: f"{address} . 8080" in sh("nft list map ip kp endpoints"))  # noqa: B023
    numbers = get("http://127.0.0.1:10249/metrics")[1]
    found = [well(), "Traceback" in log(), re.findall(r"_duration_seconds_sum\S* (-\S+)", numbers)]
    await rig.stop()
    return found


def clock() -> Any:
    return asyncio.run(_clock())


def test_a_clock_that_jumps_by_decades_changes_nothing() -> None:
    assert inside(clock) == [True, False, []]


async def _away() -> Any:
    rig = Rig("nftables")
    await rig.start()
    await rig.until(well)
    await rig.api.stop()
    await rig.until(lambda: "stays served" in log())
    sh("nft flush ruleset")
    await rig.until(lambda: "10.42.0.1 . 8080" in sh("nft list map ip kp endpoints 2>/dev/null || true"))
    away = well()
    rig.api.remove("endpointslices", "web-1", silently=True)
    rig.api.put("endpointslices", slice_json("web", "10.42.0.9", name="web-2"))
    rig.api.oldest = rig.api.version  # and what the proxy has seen last is forgotten there
    await rig.api.start(6443)
    await rig.until(lambda: "10.42.0.9 . 8080" in sh("nft list map ip kp endpoints"))
    gone = "10.42.0.1 " not in sh("nft list map ip kp endpoints")
    await rig.stop()
    return [away, gone, "Traceback" in log()]


def away() -> Any:
    return asyncio.run(_away())


def test_without_an_api_server_flushes_are_repaired_and_a_forgetful_one_is_listed_anew() -> None:
    assert inside(away) == [True, True, False]
