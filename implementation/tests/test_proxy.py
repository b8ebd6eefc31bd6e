"""The whole program: started by its command, fed by a tiny API server, seen from outside."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from implementation.tests.build import service_json, slice_json
from implementation.tests.lab import inside, sh
from implementation.tests.rig import Rig, get, log, well

pytestmark = pytest.mark.kernel


def nat() -> str:
    return sh("iptables-nft-save -t nat")


async def _life() -> Any:
    rig = Rig()
    await rig.start()
    await rig.until(well)
    served = "10.42.0.1:8080" in nat()
    rig.api.put("endpointslices", slice_json("web", "10.42.0.2"))
    changed = await rig.until(lambda: "10.42.0.2:8080" in nat())
    mode, numbers = get("http://127.0.0.1:10249/proxyMode"), get("http://127.0.0.1:10249/metrics")[1]
    await rig.api.stop()
    away = [well(), "10.42.0.2:8080" in nat()]
    await rig.until(lambda: "stays served" in log())
    rig.api.put("endpointslices", slice_json("web", "10.42.0.3"))
    await rig.api.start(6443)
    await rig.until(lambda: "10.42.0.3:8080" in nat() and "10.42.0.2:8080" not in nat())
    await rig.until(lambda: "again after" in log())
    status = await rig.stop()
    text = log()
    return {
        "served": served,
        "changed": changed,
        "mode": mode,
        "numbers": numbers,
        "away": away,
        "status": status,
        "left": "10.42.0.3:8080" in nat(),
        "log": text,
    }


def life() -> Any:
    return asyncio.run(_life())


@pytest.mark.parametrize("nobody", [False, True])
def test_it_serves_follows_survives_the_servers_absence_and_leaves_its_rules(nobody: bool) -> None:
    seen = inside(life, as_nobody=nobody)

    assert seen["served"] and seen["left"] and seen["away"] == [True, True]
    assert seen["status"] == 0
    assert seen["mode"] == [200, "iptables"]
    assert seen["changed"] < 1
    for name in (
        "sync_proxy_rules_duration_seconds_count",
        "sync_proxy_rules_iptables_total",
        "proxy_healthz_total",
    ):
        assert f"kubeproxy_{name}" in seen["numbers"]
    assert seen["log"].count("stays served, trying on") == 1
    assert seen["log"].count("answers again after") == 1
    assert "Traceback" not in seen["log"]


async def _unready() -> Any:
    rig = Rig()
    rig.api.status = 503
    await rig.start()
    await rig.until(lambda: get("http://127.0.0.1:10256/healthz")[0] == 503)
    empty = "KUBE" not in nat()
    rig.api.status = 200
    await rig.until(well)
    second = Rig()
    await second.spawn("implementation.cli")
    status = await asyncio.wait_for(second.process.wait(), 5)
    text = log()
    await rig.stop()
    return {"empty": empty, "second": status, "log": text}


def unready() -> Any:
    return asyncio.run(_unready())


def test_it_is_not_well_before_it_serves_and_a_second_proxy_ends_at_once() -> None:
    seen = inside(unready)

    assert seen["empty"]
    assert seen["second"] == 1
    assert "kube-proxy: [Errno 98] cannot listen on 127.0.0.1:10256: " in seen["log"]


async def _restart() -> Any:
    rig = Rig()
    await rig.start()
    await rig.until(well)
    rig.process.kill()
    await rig.process.wait()
    before = nat()
    rig.api.remove("endpointslices", "web-1")
    rig.api.remove("services", "web")
    rig.api.put("services", service_json("other", clusterIPs=["10.43.0.6"]))
    rig.api.put("endpointslices", slice_json("other", "10.42.0.9"))
    await rig.spawn("implementation.cli", "--iptables-sync-period=1s")
    await rig.until(well)
    after = nat()
    sh("iptables-nft -t nat -F && iptables-nft -t nat -X || true")
    repaired = await rig.until(lambda: "10.42.0.9:8080" in nat())
    await rig.stop()
    return {
        "before": "10.42.0.1" in before,
        "stale": "10.42.0.1" in after,
        "new": "10.42.0.9:8080" in after,
        "repaired": repaired,
    }


def restart() -> Any:
    return asyncio.run(_restart())


def test_a_killed_proxy_serves_on_and_its_successor_removes_what_is_gone() -> None:
    seen = inside(restart)

    assert [seen["before"], seen["stale"], seen["new"]] == [True, False, True]


async def _flushed() -> Any:
    rig = Rig("nftables")
    await rig.start()
    await rig.until(well)
    before, waits = rows(), []
    for table in ("ruleset", "table ip kp", "map ip kp svc", "chain ip kp nat-prerouting"):
        sh(f"nft flush {table}")
        waits.append(await rig.until(lambda: rows() == before))
    rig.api.put("endpointslices", slice_json("web", "10.42.0.2"))
    await rig.until(lambda: "10.42.0.2 . 8080" in rows())
    said = log()
    rig.process.kill()
    await rig.process.wait()
    kept = rows()
    await rig.spawn("implementation.cli")
    await rig.until(well)
    await rig.stop()
    return {"waits": waits, "same": kept == rows(), "log": said}


def rows() -> str:
    return sh("nft list table ip kp 2>/dev/null || true")


def flushed() -> Any:
    return asyncio.run(_flushed())


def test_rows_somebody_removed_are_back_at_once_and_a_restart_changes_none() -> None:
    seen = inside(flushed)

    assert max(seen["waits"]) < 0.5  # a notice of the kernel, not the look every five seconds
    assert seen["same"]
    assert seen["log"].count("somebody removed or changed rules of ours") == 4
    assert "Traceback" not in seen["log"]


async def _health_check() -> Any:
    rig = Rig()
    local = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 32000,
        "ports": [{"port": 80, "nodePort": 30080}],
    }
    rig.api.put("services", service_json(**local))
    value = slice_json("web", "10.42.0.1")
    value["endpoints"][0]["nodeName"] = "here"
    rig.api.put("endpointslices", value)
    await rig.start()
    await rig.until(lambda: get("http://127.0.0.1:32000/")[0] == 200)
    full = get("http://127.0.0.1:32000/healthz")[1]
    rig.api.put("endpointslices", slice_json("web", "10.42.0.1"))
    await rig.until(lambda: get("http://127.0.0.1:32000/")[0] == 503)
    rig.api.put("services", service_json(**{**local, "healthCheckNodePort": 32001}))
    await rig.until(
        lambda: get("http://127.0.0.1:32001/")[0] == 503 and get("http://127.0.0.1:32000/")[0] == 0
    )
    rig.api.remove("services", "web")
    await rig.until(lambda: get("http://127.0.0.1:32001/")[0] == 0)
    await rig.stop()
    return json.loads(full)


def health_check() -> Any:
    return asyncio.run(_health_check())


def test_health_check_node_ports_open_answer_move_and_close() -> None:
    assert (inside(health_check)) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 1,
        "serviceProxyHealthy": True,
    }


async def observed(mode: str) -> Any:
    rig = Rig(mode)
    taken = socket.create_server(("0.0.0.0", 32000))
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}
    rig.api.put("services", service_json(**local))
    await rig.start()
    await rig.until(lambda: len(rig.api.events) == 2)
    taken.close()
    rig.api.put("services", service_json("other", clusterIPs=["10.43.0.6"]))
    await rig.until(lambda: get("http://127.0.0.1:32000/")[0] == 503)
    of = {path: get(f"http://127.0.0.1:10249/{path}")[1] for path in ("configz", "proxyMode", "metrics")}
    alive = [get(f"http://127.0.0.1:10256/{path}") for path in ("healthz", "livez")]
    await rig.stop()
    return {"events": rig.api.events, "alive": alive, **of, "log": log()}


def observing(mode: str) -> Any:
    return asyncio.run(observed(mode))


@pytest.mark.parametrize("mode", ["nftables", "userspace"])
def test_the_node_and_its_ports_tell_what_goes_on(mode: str) -> None:
    seen = inside(observing, mode)

    told = {
        one["reason"]: (one["involvedObject"]["kind"], one["type"], one["message"]) for one in seen["events"]
    }
    assert told == {
        "Starting": ("Node", "Normal", ""),
        "FailedToStartServiceHealthcheck": (
            "Service",
            "Warning",
            'node here failed to start healthcheck "default/web" on port 32000: Address already in use',
        ),
    }
    assert json.loads(seen["configz"])["kubeproxy.config.k8s.io"]["mode"] == mode == seen["proxyMode"]
    assert [status for status, _ in seen["alive"]] == [200, 200]
    assert set(json.loads(seen["alive"][0][1])) == {"lastUpdated", "currentTime", "nodeEligible"}
    for line in (
        'sync_proxy_rules_service_changes_total{ip_family="IPv4"} 2.0',
        'sync_proxy_rules_endpoint_changes_total{ip_family="IPv4"} 1.0',
        'sync_proxy_rules_endpoint_changes_pending{ip_family="IPv4"} 0.0',
        f'sync_proxy_rules_{mode}_sync_failures_total{{ip_family="IPv4"}} 0.0',
        'sync_proxy_rules_no_local_endpoints{ip_family="IPv4",traffic_policy="external"}',
        "conntrack_reconciler_sync_duration_seconds_count",
    ):
        assert f"kubeproxy_{line}" in seen["metrics"]
    assert "iptables" not in seen["metrics"] and "Traceback" not in seen["log"]


def left_by() -> dict[str, bool]:
    """By mode, whether the kernel holds rules of it."""
    tables = sh("nft list tables")
    return {
        "nftables": "table ip kp\n" in tables + "\n",
        "userspace": "table ip kp-userspace" in tables,
        "iptables": ":KUBE-SERVICES" in nat(),
    }


async def mode_change(before: str, after: str) -> Any:
    rig = Rig(before)
    await rig.start()
    await rig.until(lambda: left_by()[before])
    await rig.stop()
    stopped, rig.mode = left_by(), after
    await rig.spawn("implementation.cli")
    await rig.until(lambda: left_by()[after] and not left_by()[before])
    await rig.until(lambda: get("http://127.0.0.1:10256/healthz")[0] == 200)
    changed = left_by()
    await rig.stop()
    for _ in range(2):  # what is not there is no error
        await rig.spawn("implementation.cli", "--cleanup")
        assert await rig.process.wait() == 0, log()
    return {"stopped": stopped, "changed": changed, "cleaned": left_by()}


def changing(before: str, after: str) -> Any:
    return asyncio.run(mode_change(before, after))


@pytest.mark.parametrize(
    ("before", "after"), [("iptables", "nftables"), ("nftables", "userspace"), ("userspace", "iptables")]
)
def test_a_change_of_the_mode_leaves_no_rule_of_the_other(before: str, after: str) -> None:
    seen = inside(changing, before, after)

    assert seen["stopped"] == {mode: mode == before for mode in seen["stopped"]}
    assert seen["changed"] == {mode: mode == after for mode in seen["changed"]}
    assert not any(seen["cleaned"].values())
