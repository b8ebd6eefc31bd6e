"""The controller against an API: the post's story, restarts, refusals, a waiting service that gets a freed
address.
"""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from implementation import watch
from implementation.kubeconfig import Access
from implementation.loadbalancer import health
from implementation.loadbalancer.controller import Controller
from implementation.loadbalancer.keys import OWN_SECRET
from implementation.status import Writer
from implementation.tests.loadbalancer.api import Api, service
from implementation.watch import Server

POOLS = """
address-pools:
- name: default
  protocol: layer2
  addresses:
  - {}
"""
POST = POOLS.format("192.168.2.200-192.168.2.225")
NS = "metallb-system"


async def until(what: Any, seconds: Any = 5.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)


class Bench:
    """An API, and controllers that can be started and ended."""

    def __init__(self) -> None:
        self.api = Api()
        self.url = ""
        self.running = []

    async def controller(self, lb_class: Any = None) -> Any:
        access = Access(self.url)
        server, writer = Server(access), Writer(access, "metallb-controller")
        made = Controller(writer, NS, lb_class)
        tasks = [
            asyncio.create_task(made.run()),
            *(asyncio.create_task(w.run()) for w in made.watches(server)),
        ]
        self.running.append((tasks, server, writer))
        await until(lambda: not made.missing())
        return made

    async def stop(self) -> None:
        for tasks, server, writer in self.running:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.close()
            await writer.close()
        self.running.clear()

    def config(self, text: Any) -> None:
        self.api.put("configmaps", "config", NS, data={"config": text})


@pytest_asyncio.fixture
async def bench() -> Any:
    made = Bench()
    made.url = await made.api.start()
    yield made
    await made.stop()
    await made.api.stop()


async def test_the_post_pending_without_a_pool_then_the_first_address_and_traefik_untouched(
    bench: Any,
) -> None:
    api = bench.api
    api.put("namespaces", NS)
    api.put(**service("nextcloud-dev-loadbalancer"))
    api.put(
        **service("traefik", "kube-system"), status={"loadBalancer": {"ingress": [{"ip": "192.168.2.114"}]}}
    )
    await bench.controller()
    await until(lambda: api.events)
    assert api.ingress("nextcloud-dev-loadbalancer") == []
    bench.config(POST)
    await until(lambda: len(api.events) == 2)
    balanced = api.get("services", "nextcloud-dev-loadbalancer", "default")
    assert balanced["status"]["loadBalancer"]["ingress"] == [{"ip": "192.168.2.200", "ipMode": "VIP"}]
    assert balanced["metadata"]["annotations"] == {"metallb.io/ip-allocated-from-pool": "default"}
    assert api.events == [
        (
            "Warning",
            "AllocationFailed",
            'Failed to allocate IP for "default/nextcloud-dev-loadbalancer": no available IPs',
        ),
        ("Normal", "IPAllocated", 'Assigned IP ["192.168.2.200"]'),
    ]
    traefik = api.get("services", "traefik", "kube-system")
    assert traefik["status"] == {"loadBalancer": {"ingress": [{"ip": "192.168.2.114"}]}}
    assert "annotations" not in traefik["metadata"]
    assert "finalizers" not in balanced["metadata"]


async def test_a_key_for_heartbeats_is_made_once_the_namespace_is_there(bench: Any) -> None:
    await bench.controller()
    assert "secrets" not in bench.api.objects
    bench.api.put("namespaces", NS)
    await until(lambda: f"{NS}/{OWN_SECRET}" in bench.api.objects.get("secrets", {}))
    made = bench.api.get("secrets", OWN_SECRET, NS)
    await bench.stop()
    await bench.controller()
    assert bench.api.get("secrets", OWN_SECRET, NS) == made


async def test_nothing_moves_when_the_controller_restarts(bench: Any) -> None:
    bench.config(POST)
    for name in "dcba":
        bench.api.put(**service(name))
    await bench.controller()
    await until(lambda: all(bench.api.ingress(name) for name in "abcd"))
    bench.api.remove("services", "d", "default")
    had = {name: bench.api.ingress(name) for name in "abc"}
    await bench.stop()
    bench.api.put(**service("A-first-by-name".lower()))
    await bench.controller()
    await until(lambda: bench.api.ingress("a-first-by-name"))
    assert {name: bench.api.ingress(name) for name in "abc"} == had
    assert bench.api.ingress("a-first-by-name") not in had.values()


@pytest.mark.parametrize("how", ["delete", "change-type"])
async def test_a_waiting_service_gets_an_address_that_comes_free(bench: Any, how: Any) -> None:
    bench.config(POOLS.format("10.0.0.1-10.0.0.1"))
    bench.api.put(**service("one"))
    await bench.controller()
    await until(lambda: bench.api.ingress("one"))
    bench.api.put(**service("two"))
    await until(lambda: any(reason == "AllocationFailed" for _, reason, _ in bench.api.events))
    assert bench.api.ingress("two") == []
    if how == "delete":
        bench.api.remove("services", "one", "default")
    else:
        bench.api.put(**service("one", type="ClusterIP"))
    await until(lambda: bench.api.ingress("two") == ["10.0.0.1"])
    if how == "change-type":
        assert bench.api.ingress("one") == []


async def test_a_waiting_service_is_told_once_not_again_and_again(bench: Any) -> None:
    bench.config(POOLS.format("10.0.0.1-10.0.0.1"))
    bench.api.put(**service("one"))
    bench.api.put(**service("two"))
    controller = await bench.controller()
    await until(lambda: len(bench.api.events) == 2)
    for n in range(5):
        bench.api.put("namespaces", f"n{n}")
    bench.api.put(**service("three", port=81))
    await until(lambda: len(bench.api.events) == 3)
    assert not controller._queue
    assert sorted(reason for _, reason, _ in bench.api.events) == [
        "AllocationFailed",
        "AllocationFailed",
        "IPAllocated",
    ]


async def test_a_wrong_configuration_changes_nothing_and_is_seen_in_the_metrics(bench: Any) -> None:
    bench.config(POST)
    bench.api.put(**service("web"))
    controller = await bench.controller()
    await until(lambda: bench.api.ingress("web"))
    stale = controller.metrics.stale._value.get
    bench.config(POST.replace("layer2", "l2"))
    await until(lambda: stale() == 1)
    assert bench.api.ingress("web") == ["192.168.2.200"]
    bench.config(POST)
    await until(lambda: stale() == 0)


async def test_a_changed_pool_moves_whom_it_no_longer_allows(bench: Any) -> None:
    bench.config(POST)
    bench.api.put(**service("web"))
    await bench.controller()
    await until(lambda: bench.api.ingress("web"))
    bench.config(POOLS.format("10.9.0.0/30"))
    await until(lambda: bench.api.ingress("web") == ["10.9.0.0"])
    bench.api.remove("configmaps", "config", NS)
    await until(lambda: bench.api.ingress("web") == [])


async def test_metallb_s_objects_are_taken_once_their_kinds_exist(bench: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(watch, "ABSENT_SECONDS", 0.05)
    bench.api.put(**service("web"))
    await bench.controller()
    bench.api.known_groups = True
    bench.api.put("ipaddresspools", "crd", NS, spec={"addresses": ["10.7.0.1-10.7.0.9"]})
    await until(lambda: bench.api.ingress("web") == ["10.7.0.1"])


async def test_a_server_that_is_not_up_yet_is_asked_again_which_kinds_it_has(bench: Any) -> None:
    bench.api.away = 20
    bench.config(POST)
    bench.api.put(**service("web"))
    await bench.controller()
    await until(lambda: bench.api.ingress("web") == ["192.168.2.200"])
    assert not bench.api.away


async def test_a_write_the_server_refuses_is_tried_again(bench: Any) -> None:
    bench.config(POST)
    await bench.controller()
    bench.api.failing = True
    bench.api.put(**service("web"))
    await until(lambda: bench.api.writes)
    bench.api.failing = False
    await until(lambda: bench.api.ingress("web") == ["192.168.2.200"])


async def test_a_status_written_over_by_another_controller_is_put_right(bench: Any) -> None:
    bench.config(POST)
    bench.api.put(**service("web"))
    await bench.controller()
    await until(lambda: bench.api.ingress("web"))
    bench.api.put(**service("web"), status={"loadBalancer": {"ingress": [{"ip": "192.168.2.114"}]}})
    await until(lambda: bench.api.ingress("web") == ["192.168.2.200"])


async def test_a_service_that_cannot_be_read_harms_no_other(bench: Any) -> None:
    bench.config(POST)
    bench.api.put(**service("broken", clusterIPs=["nonsense"]))
    bench.api.put(**service("web"))
    await bench.controller()
    await until(lambda: bench.api.ingress("web"))
    assert bench.api.ingress("broken") == []


async def test_many_services_get_different_addresses(bench: Any) -> None:
    bench.config(POOLS.format("10.0.0.0/16"))
    for n in range(200):
        bench.api.put(**service(f"s{n}"))
    await bench.controller()
    await until(lambda: all(bench.api.ingress(f"s{n}") for n in range(200)))
    assert len({bench.api.ingress(f"s{n}")[0] for n in range(200)}) == 200


async def test_health_says_what_is_missing_until_all_is_known(bench: Any) -> None:
    controller = Controller(Writer(Access(bench.url), "x"), NS)
    runner = await health.serve("127.0.0.1", 0, controller.missing, controller.metrics.registry)
    port = runner.addresses[0][1]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/healthz") as answer,
    ):
        assert answer.status == 503
        assert "not complete yet" in await answer.text()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert "metallb_k8s_client_config_stale_bool" in await answer.text()
    await controller._writer.close()
    await runner.cleanup()
