"""What in a lab of namespaces once gave a wrong verdict and must stay put right, as the kernel shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from clusters.client import Client
from clusters.netns.cluster import NetnsCluster
from clusters.tests.netns_pods import with_pods

pytestmark = pytest.mark.kernel
MASTER, WORKER = "k3s-master-rpi001", "k3s-worker-rpi002"
# ETHTOOL_GTXCSUM of eth0: whether a card that is not there is left to fill in checksums.
OFFLOAD = """
import array, fcntl, socket, struct
value = array.array("B", struct.pack("=II", 0x16, 9))
request = struct.pack("16sP16x", b"eth0", value.buffer_info()[0])
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)
print(struct.unpack("=II", value.tobytes())[1])
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[NetnsCluster]:
    made = asyncio.run(with_pods("netns://2-nodes", {"one": MASTER, "two": MASTER}))
    yield made
    asyncio.run(made.close())


async def shown(cluster: NetnsCluster, place: str, *argv: str) -> str:
    status, text, error = await cluster.run_on(place, argv, timeout=10)
    assert status == 0, error
    return text.strip()


@pytest.mark.parametrize("place", ["outside", "behind-router", "pod:default/one"])
async def test_clients_fill_in_their_checksums_themselves(cluster: NetnsCluster, place: str) -> None:
    # Else a refusal that a program on the node makes of their packet vanishes, and looks like a drop.
    assert await shown(cluster, place, "python3", "-c", OFFLOAD) == "0"


@pytest.mark.parametrize("node", [MASTER, WORKER])
async def test_no_redirect_uses_up_what_a_refusal_needs(cluster: NetnsCluster, node: str) -> None:
    names = [f"conf/{card}/send_redirects" for card in ("all", "default", "eth0", "cni0")]
    files = [f"/proc/sys/net/ipv4/{name}" for name in [*names, "icmp_ratelimit"]]
    assert (await shown(cluster, node, "cat", *files)).split() == ["0"] * 5


async def test_a_burst_of_refusals_is_not_thinned_out(cluster: NetnsCluster) -> None:
    script = """
import socket
refused = 0
for number in range(300):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.settimeout(2)
        wire.connect(("192.168.2.114", 20000 + number))
        wire.send(b"x")
        try:
            wire.recv(1)
        except ConnectionRefusedError:
            refused += 1
print(refused)
"""
    assert await shown(cluster, "outside", "python3", "-c", script) == "300"


async def test_pods_of_a_node_have_names_and_networks_that_do_not_overlap(cluster: NetnsCluster) -> None:
    for name in ("one", "two"):
        assert await shown(cluster, f"pod:default/{name}", "hostname") == name
    for node in (MASTER, WORKER):
        arp = [f"/proc/sys/net/ipv4/conf/{card}/proxy_arp" for card in ("all", "eth0", "cni0")]
        assert (await shown(cluster, node, "cat", *arp)).split() == ["0"] * 3


async def test_there_are_endpoints_beside_slices_for_who_reads_only_those(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        found = await client.get("/api/v1/namespaces/kube-system/endpoints/kube-dns")
        assert found["subsets"][0]["ports"]
