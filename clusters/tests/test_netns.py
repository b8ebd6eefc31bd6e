"""The embedded cluster, standing: hosts, pods, networks, the control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from clusters.base import (
    CanCutLink,
    CanKillNode,
    CanPlaceOutside,
    CanRunImplementation,
    CanSignal,
    CanSnapshot,
    CanTap,
    ClusterError,
    Command,
    Implementation,
)
from clusters.client import Client
from clusters.netns.cluster import NetnsCluster
from clusters.tests.netns_pods import PODS, WEB, get_from, gone, log_of, ready_pod, until, web_pod, with_pods

pytestmark = pytest.mark.kernel
MASTER, WORKER, THIRD = "k3s-master-rpi001", "k3s-worker-rpi002", "k3s-worker-rpi003"


@pytest.fixture(scope="module")
def cluster() -> Iterator[NetnsCluster]:
    made = asyncio.run(with_pods("netns://?seed", {"one": MASTER, "two": MASTER, "three": WORKER}))
    yield made
    asyncio.run(made.close())


async def test_has_every_power_the_judge_may_ask_for(cluster: NetnsCluster) -> None:
    assert isinstance(cluster, CanPlaceOutside)
    assert isinstance(cluster, CanRunImplementation)
    assert isinstance(cluster, CanSnapshot)
    for power in (CanCutLink, CanKillNode, CanSignal, CanTap):
        assert isinstance(cluster, power)
    assert cluster.namespace == "default"
    assert [node.name for node in await cluster.nodes()] == [MASTER, WORKER, THIRD]
    assert cluster.timings["located"] < 15


async def test_pods_reach_each_other_on_a_node_and_across_nodes_under_their_own_address(
    cluster: NetnsCluster,
) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        address = {name: (await client.get(f"{PODS}/{name}"))["status"]["podIP"]
                   for name in ("one", "two", "three")}
    for target in ("two", "three"):
        said = await get_from(cluster, "pod:default/one", f"http://{address[target]}:7000/")
        assert said.split()[:2] == [target, address["one"]]


async def test_a_pod_knows_its_address_its_node_its_name_and_its_resolver(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        pod = await client.get(f"{PODS}/three")
    status, body = await cluster.pod("default", "three", 7000).request("GET", "/", timeout=2)
    assert (status, body.decode().split()[2]) == (200, f"{pod['status']['podIP']}/{WORKER}")
    _status, said, _error = await cluster.run_on(
        "pod:default/three", ["cat", "/etc/hostname", "/etc/resolv.conf"], timeout=5)
    assert said == ("three\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n"
                    "nameserver 10.43.0.10\noptions ndots:5\n")


async def test_a_pod_writes_nothing_to_the_host(cluster: NetnsCluster) -> None:
    status, _out, error = await cluster.run_on(
        "pod:default/one", ["sh", "-c", "touch /tmp/mine /run/mine && touch /usr/netns-test"], timeout=5)
    assert status != 0
    assert "Read-only" in error


async def test_traffic_that_leaves_the_pod_network_carries_the_nodes_address(cluster: NetnsCluster) -> None:
    for place, number in (("outside", 8001), ("behind-router", 8002)):
        placed = await cluster.place_outside(
            place, f"echo-{place}", {"web.py": WEB.encode()}, ["python3", "web.py", str(number)], number)
        await until(lambda placed=placed: _answers(placed))
        address = cluster.address_of(place)[0]
        said = await get_from(cluster, "pod:default/three", f"http://{address}:{number}/")
        assert said.split()[:2] == [place, "192.168.2.115"]


async def _answers(workload: object) -> bool:
    try:
        status, _body = await workload.request("GET", "/", timeout=1)  # type: ignore[attr-defined]
    except ClusterError:
        return False
    return bool(status == 200)


async def test_the_login_page_comes_from_two_pods_at_the_posts_addresses(cluster: NetnsCluster) -> None:
    template = {"metadata": {"labels": {"app": "nextcloud"}},
                "spec": {"containers": [{"name": "nextcloud", "image": "nextcloud:latest"}]}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nextcloud-dev"},
                  "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "nextcloud"}},
                           "template": template}}
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        path = "/apis/apps/v1/namespaces/default/deployments"
        await client.create(path, deployment)

        async def both() -> list[str] | None:
            pods = await client.list(PODS, label="app=nextcloud")
            ready = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
            return sorted(pod["metadata"]["name"] for pod in ready) if len(ready) == 2 else None

        names = await until(both)
        for name in names:
            status, page = await cluster.pod("default", name, 80).request("GET", "/?token=abc", timeout=2)
            assert (status, len(page)) == (200, 6815)
            assert "GET /?token=abc HTTP/1.1" in await log_of(cluster, name)
        await client.delete(f"{path}/nextcloud-dev")


async def test_readiness_follows_the_probe_both_ways(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        await client.create(PODS, web_pod("fickle", THIRD, "--unready"))
        asked = cluster.pod("default", "fickle", 7000)
        await until(lambda: _answers(asked))
        pod = await client.get(f"{PODS}/fickle")
        assert [c["status"] for c in pod["status"]["conditions"] if c["type"] == "Ready"] == ["False"]
        await asked.request("GET", "/ready", timeout=2)
        await ready_pod(client, "fickle")
        await asked.request("GET", "/unready", timeout=2)

        async def unready() -> bool:
            found = await client.get(f"{PODS}/fickle")
            return not found["status"]["containerStatuses"][0]["ready"]

        await until(unready)
        await gone(client, "fickle")


async def test_a_container_that_ends_is_started_again_and_counted(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        await client.create(PODS, web_pod("mortal", THIRD))
        await ready_pod(client, "mortal")
        with pytest.raises(ClusterError):
            await cluster.pod("default", "mortal", 7000).request("GET", "/exit", timeout=2)

        async def again() -> dict | None:
            found = (await client.get(f"{PODS}/mortal"))["status"]["containerStatuses"][0]
            return found if found["restartCount"] == 1 and found["ready"] else None

        state = await until(again)
        assert state["lastState"]["terminated"]["exitCode"] == 7
        await gone(client, "mortal")


async def test_an_image_without_a_stand_in_waits_and_names_those_there_are(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "strange"},
               "spec": {"nodeName": MASTER, "containers": [{"name": "c", "image": "example.org/other:1"}]}}
        await client.create(PODS, pod)

        async def waiting() -> dict | None:
            states = (await client.get(f"{PODS}/strange")).get("status", {}).get("containerStatuses") or [{}]
            found = states[0].get("state", {}).get("waiting", {})
            return found if found.get("reason") == "ErrImagePull" else None

        assert "nextcloud" in (await until(waiting))["message"]
        await gone(client, "strange")


async def test_a_pod_that_ignores_sigterm_is_killed_when_its_grace_is_over(cluster: NetnsCluster) -> None:
    pod = web_pod("stubborn", THIRD, terminationGracePeriodSeconds=1)
    script = "trap '' TERM; touch /tmp/armed; while :; do sleep 0.1; done"
    pod["spec"]["containers"] = [{"name": "c", "image": "busybox", "command": ["sh", "-c", script],
                                  "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/armed"]}}}]
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        await client.create(PODS, pod)
        await ready_pod(client, "stubborn")
        began = asyncio.get_running_loop().time()
        await gone(client, "stubborn")
        assert 0.9 < asyncio.get_running_loop().time() - began < 3


async def test_commands_on_hosts_give_status_outputs_and_a_sentence_when_they_are_late(
    cluster: NetnsCluster,
) -> None:
    assert await cluster.run_on(WORKER, ["sh", "-c", "hostname; echo e >&2; exit 3"], timeout=5) == (
        3, f"{WORKER}\n", "e\n")
    status, _out, error = await cluster.run_on("outside", ["sleep", "9"], timeout=0.2)
    assert status == 124
    assert "no end within 0.2 s" in error
    with pytest.raises(ClusterError, match="the hosts are control-plane"):
        await cluster.run_on("nowhere", ["true"], timeout=1)


async def test_hundreds_of_programs_at_once_are_all_heard_of(cluster: NetnsCluster) -> None:
    # More connections than the control socket's queue holds, more ends than signals arrive.
    argv = ["sh", "-c", "for i in 1 2 3 4 5; do (exit 1) & done; exit 4"]
    done = await asyncio.gather(*(cluster.run_on(THIRD, argv, timeout=20) for _ in range(150)))
    assert {status for status, _out, _error in done} == {4}
    dead = ["sh", "-c", "ps ax | grep -c '[d]efunct'"]
    _status, said, _error = await cluster.run_on(THIRD, dead, timeout=5)
    assert said == "0\n"


async def test_a_placed_program_that_dies_is_named_with_its_last_lines(cluster: NetnsCluster) -> None:
    with pytest.raises(ClusterError, match="bad at outside ended with status 1 before it listened") as caught:
        await cluster.place_outside("outside", "bad", {"x.py": b"raise SystemExit('no luck')"},
                                    ["python3", "x.py"], 8009)
    assert caught.value.log == ("no luck",)


async def test_a_node_is_as_the_post_needs_it(cluster: NetnsCluster) -> None:
    _status, said, _error = await cluster.run_on(WORKER, ["sh", "-c", """
        cd /proc/sys/net; cat ipv4/ip_forward ipv4/conf/eth0/rp_filter ipv4/conf/eth0/send_redirects \
            ipv4/icmp_ratelimit
        ip -4 -br addr show eth0; ip -4 -br addr show cni0
        bridge -d link | grep -c 'hairpin on'"""], timeout=5)
    lines = said.split("\n")
    assert lines[:4] == ["1", "0", "0", "0"]
    assert "192.168.2.115/24" in lines[4]
    assert "10.42.1.1/24" in lines[5]
    assert int(lines[6]) >= 1


async def test_a_snapshot_holds_rules_tracking_and_logs(cluster: NetnsCluster) -> None:
    texts = await cluster.snapshot(MASTER)
    assert {"iptables-save", "nft", "conntrack"} <= set(texts)
    assert "masquerade" in texts["nft"]


async def test_programs_that_end_are_reported_with_their_last_lines(cluster: NetnsCluster) -> None:
    failing = Implementation("failing", "1", per_node=(
        Command("breaks", argv=("sh", "-c", "echo I cannot; exit 5"), ready="http://127.0.0.1:1/"),))
    with pytest.raises(ClusterError, match=r"breaks on k3s-\S+ ended with status 5") as caught:
        await cluster.provide(failing)
    with pytest.raises(ClusterError, match="nothing starts nothing, so nothing would serve on netns"):
        await cluster.provide(Implementation("nothing", "1"))
    assert caught.value.log == ("I cannot",)
    assert await cluster.dead() == []  # nothing is left of it, and another can be started
    ends = Implementation("ends", "1", per_node=(Command("ends", argv=("sh", "-c", "exit 5")),))
    await cluster.provide(ends)
    with pytest.raises(ClusterError, match="'ends' runs already"):
        await cluster.provide(failing)

    async def all_dead() -> bool:
        return len(await cluster.dead()) == 3

    await until(all_dead)


async def test_what_is_not_there_is_said(cluster: NetnsCluster) -> None:
    with pytest.raises(ClusterError, match="no pod default/nobody runs"):
        await cluster.pod("default", "nobody", 80).request("GET", "/", timeout=1)
    with pytest.raises(ClusterError, match="Connection refused"):
        await cluster.pod("default", "one", 9).request("GET", "/", timeout=1)
    with pytest.raises(ClusterError, match="no place"):
        await cluster.place_outside("moon", "x", {}, ["python3", "x.py"], 1)
