"""``?dual``: who has which IPv6 address, and that everybody reaches everybody by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from clusters.client import Client
from clusters.netns.cluster import NetnsCluster
from clusters.tests.netns_pods import PODS, until, with_pods

pytestmark = pytest.mark.kernel
MASTER, WORKER = "k3s-master-rpi001", "k3s-worker-rpi002"
NODES = {MASTER: "fd00:192:168:2::114", WORKER: "fd00:192:168:2::115"}
# One line an attempt: a closed port that refuses shows the way there and the way back.
KNOCK = """
import socket, sys
for address in sys.argv[2:]:
    for _ in range(int(sys.argv[1])):
        try:
            socket.create_connection((address, 9), 2).close()
        except OSError as error:
            print(address, type(error).__name__)
"""
# Who is seen when a pod sends to the next network.
SEEN = """
import socket
made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
made.bind(("::", 7))
made.settimeout(5)
print("bound", flush=True)
print(made.recvfrom(9)[1][0])
"""
SEND = """
import socket
socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"x", ("fd00:198:51:100::10", 7))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[NetnsCluster]:
    made = asyncio.run(with_pods("netns://2-nodes?dual", {"one": MASTER, "two": MASTER, "three": WORKER}))
    yield made
    asyncio.run(made.close())


async def pod_addresses(cluster: NetnsCluster) -> dict[str, list[str]]:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        return {pod["metadata"]["name"]: [one["ip"] for one in pod["status"]["podIPs"]]
                for pod in await client.list(PODS)}


async def test_nodes_pods_and_services_have_an_address_of_each_family(cluster: NetnsCluster) -> None:
    assert {node.name: node.addresses[1] for node in await cluster.nodes()} == NODES
    assert [node.pod_cidrs[1] for node in await cluster.nodes()] == ["fd00:10:42::/64", "fd00:10:42:1::/64"]
    for four, six in (await pod_addresses(cluster)).values():
        assert six == "fd00:10:42" + (":1" if four.startswith("10.42.1.") else "") + "::" + four.split(".")[3]
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        made = await client.create("/api/v1/namespaces/default/services", {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "both"},
            "spec": {"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]}})
    assert made["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert made["spec"]["clusterIPs"][1].startswith("fd00:10:43::")


async def test_everybody_reaches_everybody_and_no_refusal_is_lost(cluster: NetnsCluster) -> None:
    pods = [six for _four, six in (await pod_addresses(cluster)).values()]
    hosts = [*NODES.values(), "fd00:192:168:2::50", "fd00:192:168:2::1", "fd00:198:51:100::10"]
    inside = [*pods, *hosts]
    for place, reached in (("pod:default/one", inside), ("pod:default/three", inside), (MASTER, inside),
                           (WORKER, inside), ("outside", hosts), ("behind-router", hosts)):
        knock = ["python3", "-c", KNOCK, "50", *reached]
        status, text, error = await cluster.run_on(place, knock, timeout=60)
        assert (status, error) == (0, "")
        refused = [f"{one} ConnectionRefusedError" for one in reached for _ in range(50)]
        assert text.splitlines() == refused, place


async def test_a_pod_is_seen_outside_by_its_nodes_address(cluster: NetnsCluster) -> None:
    listening = asyncio.create_task(cluster.run_on("behind-router", ["python3", "-c", SEEN], timeout=20))
    seen = ""
    while not listening.done():  # until one came after it listened
        status, _, error = await cluster.run_on("pod:default/three", ["python3", "-c", SEND], timeout=10)
        assert (status, error) == (0, "")
    status, seen, error = await listening
    assert (status, seen.split(), error) == (0, ["bound", NODES[WORKER]], "")


async def test_a_node_that_comes_back_has_its_addresses_again(cluster: NetnsCluster) -> None:
    await cluster.kill_node(WORKER)
    await cluster.revive_node(WORKER)
    six = (await pod_addresses(cluster))["three"][1]
    refused = [f"{one} ConnectionRefusedError" for one in (NODES[WORKER], six)]

    async def both_refuse() -> bool:
        knock = ["python3", "-c", KNOCK, "1", NODES[WORKER], six]
        status, text, error = await cluster.run_on("pod:default/one", knock, timeout=20)
        assert (status, error) == (0, "")
        return text.splitlines() == refused

    await until(both_refuse)
