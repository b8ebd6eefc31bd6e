"""Cables cut, power taken, processes signalled: what the cluster shows, and how long the acts take."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from clusters.base import (
    CanCutLink,
    CanKillNode,
    CanPauseNode,
    CanSignal,
    ClusterError,
    Command,
    Implementation,
)
from clusters.client import ApiError, Client, NotFound, Unreachable
from clusters.locate import locate
from clusters.netns.cluster import NetnsCluster
from clusters.netns.init import family
from clusters.netns.staticpods import pause_after
from clusters.tests.netns_pods import PODS, get_from, is_ready, log_of, ready_pod, until, web_map, web_pod

pytestmark = pytest.mark.kernel
MASTER, WORKER, THIRD = "k3s-master-rpi001", "k3s-worker-rpi002", "k3s-worker-rpi003"
_PROGRAM = '''
import http.server, os, signal, subprocess, sys
if os.fork() == 0:
    os.setsid()
    os.fork()  # a grandchild in a session of its own
    signal.pause()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 7500), Handler).serve_forever()
'''
SERVED = Implementation("served", "1", per_node=(
    Command("server", argv=("python3", "-c", _PROGRAM), ready="http://127.0.0.1:7500/"),))


@pytest.fixture
async def cluster() -> AsyncIterator[NetnsCluster]:
    made = await locate("netns://2-nodes?node-grace=1")
    assert isinstance(made, NetnsCluster)
    async with Client.from_kubeconfig(made.kubeconfig) as client:
        await client.create("/api/v1/namespaces/default/configmaps", web_map())
        await client.create(PODS, web_pod("one", WORKER))
        await ready_pod(client, "one")
    yield made
    await made.close()


async def node_ready(client: Client, name: str) -> str:
    item = await client.get(f"/api/v1/nodes/{name}")
    return next(str(c["status"]) for c in item["status"]["conditions"] if c["type"] == "Ready")


async def _heard(client: Client, name: str) -> float:
    """When the node's last heartbeat was, in seconds since 1970; 0 for never."""
    try:
        lease = await client.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
    except NotFound:
        return 0.0
    return datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()


async def test_a_node_that_is_cut_off_gives_no_log_and_ends_what_is_followed(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        following = asyncio.create_task(log_of(cluster, "one", follow="true"))
        await until(lambda: followed(cluster))
        await cluster.cut_link(WORKER, silently=True)
        assert "asked /readyz" in await following
        with pytest.raises(ApiError, match=r"dial tcp 192\.168\.2\.115:10250: connect: no route to host"):
            await client.request("GET", f"{PODS}/one/log")
        await cluster.heal_link(WORKER)
        await until(lambda: log_of(cluster, "one"))


async def followed(cluster: NetnsCluster) -> bool:
    """Whether somebody has a connection to the kubelet's socket."""
    words = ["ss", "-xH", "state", "connected"]
    return "/kubelet" in (await cluster.run_on("control-plane", words, timeout=5))[1]


async def states(cluster: NetnsCluster, place: str) -> list[str]:
    """State letters of the program, its child and its grandchild."""
    script = "ps -A -o stat=,args= | grep 'os[.]setsid' || true"
    _status, said, _error = await cluster.run_on(place, ["sh", "-c", script], timeout=5)
    return sorted(line[0] for line in said.splitlines() if line[:1] in "SRTDZ")


async def carrier(cluster: NetnsCluster, place: str) -> str:
    _status, said, _error = await cluster.run_on(place, ["cat", "/sys/class/net/eth0/carrier"], timeout=5)
    return said.strip()


async def test_a_silent_cut_keeps_the_carrier_and_a_pulled_cable_loses_it(cluster: NetnsCluster) -> None:
    assert isinstance(cluster, CanCutLink)
    url = "http://192.168.2.115:7700/"
    await cluster.run_on(WORKER, ["sh", "-c", "python3 -m http.server 7700 >/dev/null 2>&1 &"], timeout=5)

    async def reached() -> bool:
        return "Directory listing" in await get_from(cluster, "outside", url, 0.5)

    await until(reached)
    for silently, seen in ((True, "1"), (False, "0")):
        before = time.monotonic()
        at = await cluster.cut_link(WORKER, silently=silently)
        assert before < at < time.monotonic()
        assert await carrier(cluster, WORKER) == seen
        assert not await reached()
        await cluster.cut_link(WORKER, silently=silently)
        at = await cluster.heal_link(WORKER)
        assert await reached()
        assert await cluster.heal_link(WORKER) >= at
    await cluster.cut_link("outside", silently=True)
    assert not await reached()
    await cluster.heal_link("outside")
    with pytest.raises(ClusterError, match="behind-router has no cable to the switch"):
        await cluster.cut_link("behind-router", silently=True)
    with pytest.raises(ClusterError, match="no host 'moon'"):
        await cluster.heal_link("moon")


async def test_acts_on_a_cable_start_no_program_and_so_take_milliseconds(cluster: NetnsCluster) -> None:
    took = []
    for number in range(40):
        before = time.monotonic()
        at = await cluster.cut_link(WORKER, silently=number % 2 == 0)
        took.append(at - before)
        before = time.monotonic()
        took.append(await cluster.heal_link(WORKER) - before)
    # 1 ms when measured alone; what must not creep in is the start of a program, 20 ms and more when busy.
    assert sorted(took)[len(took) // 2] < 0.015, "the median, with the question's way to the machine"


async def test_a_node_that_is_cut_off_is_given_up_after_the_grace_and_returns(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        await until(lambda: _is(node_ready(client, WORKER), "True"))
        await client.create(PODS, web_pod("stays", WORKER))
        await ready_pod(client, "stays")
        await until(lambda: _heard(client, WORKER))  # only who was heard once can fall silent
        cut = await cluster.cut_link(WORKER, silently=True)
        assert await node_ready(client, WORKER) == "True"
        await until(lambda: _is(node_ready(client, WORKER), "Unknown"))
        assert time.monotonic() - cut < 2
        assert time.time() - await _heard(client, WORKER) >= 1, "not before its grace is over"
        for name in ("one", "stays"):
            await until(lambda name=name: _is(_pod_ready(client, name), False))  # type: ignore[misc]
        assert await node_ready(client, MASTER) == "True"
        pod = web_pod("late", WORKER)
        await client.create(PODS, pod)
        await client.delete(f"{PODS}/one", grace=0)
        assert (await client.get(f"{PODS}/late"))["status"].get("phase", "Pending") == "Pending"
        await cluster.heal_link(WORKER)
        await until(lambda: _is(node_ready(client, WORKER), "True"))
        await ready_pod(client, "late")
        await ready_pod(client, "stays")
        with pytest.raises(ClusterError, match="no pod default/one runs"):
            await cluster.run_on("pod:default/one", ["true"], timeout=2)


async def _is(answer: Any, wanted: Any) -> bool:
    return bool(await answer == wanted)


async def _pod_ready(client: Client, name: str) -> bool:
    return is_ready(await client.get(f"{PODS}/{name}"))


async def test_a_killed_node_is_dead_and_comes_back_with_its_pods_and_commands(cluster: NetnsCluster) -> None:
    assert isinstance(cluster, CanKillNode)
    await cluster.provide(SERVED)
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        address = (await client.get(f"{PODS}/one"))["status"]["podIP"]
        await cluster.run_on(WORKER, ["nft", "add", "table", "ip", "left"], timeout=5)
        before = time.monotonic()
        assert before < await cluster.kill_node(WORKER) < time.monotonic()
        with pytest.raises(ClusterError, match="is down"):
            await cluster.run_on(WORKER, ["true"], timeout=2)
        with pytest.raises(ClusterError, match="is dead; revive it first"):
            await cluster.cut_link(WORKER, silently=True)
        said = await get_from(cluster, MASTER, "http://192.168.2.115:10250/", 0.5)
        assert "timed out" in said, "nobody answers, not even the kernel"
        assert await cluster.dead() == [], "what was killed on purpose has not ended by itself"
        await cluster.kill_node(WORKER)
        await cluster.revive_node(WORKER)
        await until(lambda: _is(states(cluster, WORKER), ["S", "S", "S"]))
        await ready_again(client, 1)
        said = await get_from(cluster, MASTER, f"http://{address}:7000/")
        assert said.split()[0] == "one"
        _status, rules, _error = await cluster.run_on(WORKER, ["nft", "list", "tables"], timeout=5)
        assert rules == "table ip cni\n", "a rebooted kernel remembers nothing"
        await cluster.revive_node(WORKER)


async def ready_again(client: Client, restarts: int) -> None:
    async def look() -> bool:
        pod = await client.get(f"{PODS}/one")
        return is_ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] == restarts

    await until(look)


async def test_signals_reach_a_command_and_all_its_children(cluster: NetnsCluster) -> None:
    assert isinstance(cluster, CanSignal)
    await cluster.provide(SERVED)
    await cluster.signal(WORKER, "server", signal.SIGSTOP)
    # The kernel stops a sleeping process once it has woken it: after the signal is sent, not with it.
    await until(lambda: _is(states(cluster, WORKER), ["T", "T", "T"]))
    assert "T" not in await states(cluster, MASTER)
    await cluster.restart(WORKER, "server")
    await until(lambda: _is(states(cluster, WORKER), ["S", "S", "S"]))  # the stopped are ended, all three
    await cluster.signal(WORKER, "server", signal.SIGKILL)
    await until(lambda: _is(states(cluster, WORKER), []))
    assert await cluster.dead() == []
    with pytest.raises(ClusterError, match="does not run"):
        await cluster.signal(WORKER, "server", signal.SIGTERM)
    assert await cluster.restart(WORKER, "server") < time.monotonic()
    with pytest.raises(ClusterError, match=r"no command 'proxy' .* there are: server"):
        await cluster.signal(WORKER, "proxy", signal.SIGTERM)
    async with (
        Client.from_kubeconfig(cluster.kubeconfig) as client,
        Client.from_kubeconfig(cluster.kubeconfig, timeout=0.3) as hasty,
    ):
        await cluster.signal("control-plane", "api-server", signal.SIGSTOP)
        with pytest.raises(Unreachable, match="nodes"):
            await hasty.list("/api/v1/nodes")
        await cluster.signal("control-plane", "api-server", signal.SIGCONT)
        assert await client.list("/api/v1/nodes")


async def test_the_control_plane_is_killed_and_restarted_and_has_forgotten_nothing(
    cluster: NetnsCluster,
) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        versions = {item["metadata"]["uid"]: item for item in await client.list("/api/v1/services")}
        for act in (lambda: cluster.signal("control-plane", "api-server", signal.SIGKILL),
                    lambda: cluster.restart("control-plane", "api-server")):
            before = time.monotonic()
            assert before < await act() < time.monotonic()

            async def answers() -> bool:
                with suppress(Unreachable):
                    return versions == {item["metadata"]["uid"]: item
                                        for item in await client.list("/api/v1/services")}
                return False

            await until(answers)
        await cluster.signal("control-plane", "controllers", signal.SIGKILL)
        await client.create("/api/v1/namespaces/default/services", {
            "metadata": {"name": "late"}, "spec": {"selector": {"app": "one"}, "ports": [{"port": 80}]}})

        async def sliced() -> bool:
            slices = await client.list("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                                       label="kubernetes.io/service-name=late")
            return [len(one["endpoints"]) for one in slices] == [1]

        await until(sliced, 10)
        assert await cluster.restart("control-plane", "controllers") < time.monotonic()
        assert await cluster.dead() == []


def test_what_ends_again_and_again_is_started_at_growing_intervals() -> None:
    assert [pause_after(number) for number in range(8)] == [0, 0, 0.25, 0.5, 1, 2, 4, 8]
    assert pause_after(10_000) == 10


def test_a_family_is_a_session_and_all_descendants() -> None:
    table = {1: (0, 1), 5: (1, 5), 6: (5, 5), 7: (6, 7), 8: (7, 8), 9: (1, 9), 10: (1, 5)}
    assert family([5], table) == {5, 6, 7, 8, 10}
    assert family([11], table) == set()


async def test_a_paused_node_stands_still_but_for_its_kernel_and_goes_on(cluster: NetnsCluster) -> None:
    assert isinstance(cluster, CanPauseNode)
    url = "http://192.168.2.115:7700/"
    await cluster.run_on(WORKER, ["sh", "-c", "python3 -m http.server 7700 >/dev/null 2>&1 &"], timeout=5)

    async def reached() -> bool:
        return "Directory listing" in await get_from(cluster, "outside", url, 0.5)

    async def kernel_answers() -> bool:
        script = "import socket; socket.create_connection(('192.168.2.115', 7700), 1)"
        return (await cluster.run_on("outside", ["python3", "-c", script], timeout=5))[0] == 0

    await until(reached)
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        await until(lambda: _heard(client, WORKER))
        before = time.monotonic()
        assert before < await cluster.pause_node(WORKER) < time.monotonic()
        assert not await reached()
        assert await kernel_answers()
        await until(lambda: _is(node_ready(client, WORKER), "Unknown"))
        with pytest.raises(ClusterError, match="is paused; resume it first"):
            await cluster.signal(WORKER, "server", 15)
        at = await cluster.resume_node(WORKER)
        assert await cluster.resume_node(WORKER) >= at
        await until(reached)
        await until(lambda: _is(node_ready(client, WORKER), "True"))
        await ready_pod(client, "one")
        await cluster.pause_node(WORKER)
        await cluster.kill_node(WORKER)  # nothing that stands still outlives the power
        await cluster.revive_node(WORKER)
        await until(lambda: _is(node_ready(client, WORKER), "True"))
