"""Controllers and cluster DNS as processes beside the embedded API server, over loopback."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import dnslib
import pytest

from clusters.client import ApiError, Client, NotFound
from clusters.controllers.main import run
from clusters.dns.server import Server
from clusters.tests.controllers_objects import node
from clusters.tests.controllers_process import (
    DEPLOYMENTS,
    PODS,
    SERVICES,
    SETS,
    SLICES,
    START,
    Cable,
    Control,
    Object,
    deployment,
    kubelet,
    ready,
    service,
    slices_of,
    start,
    until,
)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    made = Control(tmp_path_factory.mktemp("control"))
    yield made
    made.close()


@pytest.fixture
async def client(control: Control) -> AsyncIterator[Client]:
    """A client of a cluster with two nodes and a kubelet; the default namespace is emptied afterwards."""
    async with Client.from_kubeconfig(control.kubeconfig) as opened:
        for name in ("n1", "n2"):
            with contextlib.suppress(ApiError):
                await opened.create("/api/v1/nodes", node(name))
        running = asyncio.create_task(kubelet(opened))
        yield opened
        for path in (DEPLOYMENTS, SETS, SERVICES, PODS, SLICES):
            for item in await opened.list(path):
                with contextlib.suppress(NotFound):
                    if item["metadata"]["name"] != "kubernetes":
                        await opened.delete(f"{path}/{item['metadata']['name']}")
        await until(lambda: opened.list(PODS), lambda pods: not pods)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_deployment_becomes_pods_on_both_nodes_endpoints_and_names(
    client: Client,
    control: Control,
) -> None:
    dns = Server()
    following = asyncio.create_task(dns.follow(client))
    await client.create(SERVICES, service(clusterIP="None"))
    (empty,) = await until(lambda: slices_of(client), bool)
    assert empty["endpoints"] == []
    await client.create(DEPLOYMENTS, deployment())
    slices = await until(lambda: slices_of(client), lambda found: len(ready(found)) == 2)
    assert [s["metadata"]["name"] for s in slices] == [empty["metadata"]["name"]]
    assert {e["nodeName"] for e in slices[0]["endpoints"]} == {"n1", "n2"}
    assert slices[0]["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
    legacy = await until(
        lambda: client.get("/api/v1/namespaces/default/endpoints/web"),
        lambda found: len((found.get("subsets") or [{}])[0].get("addresses") or ()) == 2,
    )
    assert [row["ip"] for row in legacy["subsets"][0]["addresses"]] == ready(slices)
    status = (
        await until(
            lambda: client.get(f"{DEPLOYMENTS}/web"),
            lambda found: found["status"].get("availableReplicas") == 2,
        )
    )["status"]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Available": "True",
        "Progressing": "True",
    }

    async def names() -> list[str]:
        return sorted(r.data for r in dns.zone.answer("web.default.svc.cluster.local", "A").records)

    assert await until(names, lambda found: found == ready(slices))
    await client.delete(f"{SERVICES}/web")
    await until(lambda: slices_of(client), lambda found: not found)
    await until(names, lambda found: not found)
    with pytest.raises(NotFound):
        await until(lambda: client.get("/api/v1/namespaces/default/endpoints/web"), lambda _: False)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_pod_that_turns_unready_leaves_the_ready_endpoints_within_moments(client: Client) -> None:
    await client.create(SERVICES, service())
    await client.create(DEPLOYMENTS, deployment(replicas=3))
    await until(lambda: slices_of(client), lambda found: len(ready(found)) == 3)
    pod = (await client.list(PODS))[0]
    took = []
    for state in ("False", "True") * 5:
        condition = {"type": "Ready", "status": state, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        began = time.perf_counter()
        await client.patch_status(
            f"{PODS}/{pod['metadata']['name']}", {"status": {"conditions": [condition]}}
        )
        wanted = 2 if state == "False" else 3
        await until(lambda: slices_of(client), lambda found, n=wanted: len(ready(found)) == n)  # type: ignore[misc]
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 0.25, f"seconds from pod status to slice: {took}"


async def test_scaling_and_rolling_keep_enough_pods_and_end_with_the_right_ones(client: Client) -> None:
    await client.create(SERVICES, service())
    await client.create(DEPLOYMENTS, deployment(replicas=4))
    await until(lambda: slices_of(client), lambda found: len(ready(found)) == 4)
    await client.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 2}})
    await until(lambda: client.list(PODS), lambda pods: len(pods) == 2)
    await until(lambda: client.get(f"{DEPLOYMENTS}/web"), lambda d: d["status"].get("availableReplicas") == 2)
    fewest = 2
    await client.patch(
        f"{DEPLOYMENTS}/web", {"spec": {"template": deployment(image="two")["spec"]["template"]}}
    )

    async def look() -> list[str]:
        nonlocal fewest
        fewest = min(fewest, len(ready(await slices_of(client))))
        return sorted(pod["spec"]["containers"][0]["image"] for pod in await client.list(PODS))

    await until(look, lambda images: images == ["two", "two"])
    assert fewest == 2, "a rolling update of two pods may never have fewer than two"
    sets = await client.list(SETS)
    assert sorted(rs["spec"]["replicas"] for rs in sets) == [0, 2]
    done = await until(
        lambda: client.get(f"{DEPLOYMENTS}/web"),
        lambda d: d["status"].get("updatedReplicas") == 2 and d["status"]["replicas"] == 2,
    )
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    await client.delete(f"{DEPLOYMENTS}/web")
    await until(lambda: client.list(PODS), lambda pods: not pods)


async def test_a_pod_that_fits_nowhere_says_why_and_is_placed_when_a_node_comes(client: Client) -> None:
    await client.create(DEPLOYMENTS, deployment(replicas=1, nodeSelector={"disk": "ssd"}))

    def message(pods: list[Object]) -> str:
        found = [
            c for pod in pods for c in pod["status"].get("conditions") or () if c["type"] == "PodScheduled"
        ]
        return str(found[0].get("message", "")) if found else ""

    pods = await until(lambda: client.list(PODS), message)
    assert message(pods) == "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    await client.create("/api/v1/nodes", node("n3", labels={"disk": "ssd"}))
    await until(lambda: client.list(PODS), lambda pods: [p["spec"].get("nodeName") for p in pods] == ["n3"])
    await client.patch_status(
        "/api/v1/nodes/n3", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    )
    await until(
        lambda: client.list(PODS),
        lambda pods: all(
            c["status"] == "False" for c in pods[0]["status"]["conditions"] if c["type"] == "Ready"
        ),
    )
    await client.delete("/api/v1/nodes/n3")
    await until(lambda: client.list(PODS), lambda pods: pods and not pods[0]["spec"].get("nodeName"))


async def test_slices_made_by_users_are_left_alone_and_ours_are_repaired(client: Client) -> None:
    mine = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "ports": [],
        "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["198.51.100.9"]}],
    }
    made = await client.create(SLICES, mine)
    await client.create(SERVICES, service())
    await client.create(DEPLOYMENTS, deployment(replicas=1))
    ours = "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io"
    (held,) = await until(
        lambda: client.list(SLICES, label=ours), lambda found: found and len(found[0]["endpoints"]) == 1
    )
    await client.patch(f"{SLICES}/{held['metadata']['name']}", {"endpoints": []})
    await until(lambda: client.list(SLICES, label=ours), lambda found: found and found[0]["endpoints"])
    await client.delete(f"{SLICES}/{held['metadata']['name']}")
    await until(lambda: client.list(SLICES, label=ours), lambda found: found and found[0]["endpoints"])
    assert await client.get(f"{SLICES}/by-hand") == made


async def test_recreate_never_runs_old_and_new_together(client: Client) -> None:
    wanted = deployment(replicas=2)
    wanted["spec"]["strategy"] = {"type": "Recreate"}
    await client.create(DEPLOYMENTS, wanted)
    available = {"availableReplicas": 2, "updatedReplicas": 2}
    await until(lambda: client.get(f"{DEPLOYMENTS}/web"), lambda d: available.items() <= d["status"].items())
    template = deployment(image="two")["spec"]["template"]
    await client.patch(f"{DEPLOYMENTS}/web", {"spec": {"template": template}})

    async def images() -> list[str]:
        found = sorted(pod["spec"]["containers"][0]["image"] for pod in await client.list(PODS))
        assert len(set(found)) <= 1, "an old and a new pod at the same time"
        return found

    await until(images, lambda found: found == ["two", "two"])


async def test_a_replicaset_name_taken_by_a_stranger_is_avoided(client: Client) -> None:
    wanted = deployment(replicas=1)
    await client.create(DEPLOYMENTS, wanted)
    (rs,) = await until(lambda: client.list(SETS), bool)
    await client.delete(f"{DEPLOYMENTS}/web")
    await until(lambda: client.list(SETS), lambda found: not found)
    stranger = {"metadata": {"name": rs["metadata"]["name"]}, "spec": rs["spec"] | {"replicas": 0}}
    await client.create(SETS, {"apiVersion": "apps/v1", "kind": "ReplicaSet"} | stranger)
    await client.create(DEPLOYMENTS, wanted)
    done = await until(
        lambda: client.get(f"{DEPLOYMENTS}/web"), lambda d: d["status"].get("availableReplicas") == 1
    )
    assert done["status"]["collisionCount"] == 1
    await client.delete(f"{SETS}/{rs['metadata']['name']}")


async def test_strays_are_adopted_surplus_goes_and_orphans_of_a_dead_owner_are_removed(
    client: Client,
) -> None:
    container = {"name": "c", "image": "one"}
    stray = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stray", "labels": {"app": "web"}},
        "spec": {"containers": [container], "nodeName": "n1"},
    }
    await client.create(PODS, stray)
    await until(lambda: client.get(f"{PODS}/stray"), lambda pod: pod["status"].get("podIP"))
    labels = {"metadata": {"labels": {"app": "web"}}}
    await client.create(
        SETS,
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": "rs"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": labels | {"spec": {"containers": [container]}},
            },
        },
    )
    pods = await until(lambda: client.list(PODS), lambda pods: len(pods) == 2)
    owners = {p["metadata"]["name"]: [r["name"] for r in p["metadata"]["ownerReferences"]] for p in pods}
    assert owners["stray"] == ["rs"]
    await client.delete(f"{SETS}/rs")
    await until(lambda: client.list(PODS), lambda pods: not pods)
    ref = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "long-gone"}
    orphan = stray | {"metadata": {"name": "orphan", "ownerReferences": [ref]}}
    await client.create(PODS, orphan)
    await until(lambda: client.list(PODS), lambda pods: not pods)


async def test_a_hundred_and_fifty_pods_come_up_in_several_slices_and_go(client: Client) -> None:
    await client.create(SERVICES, service())
    await client.create(DEPLOYMENTS, deployment(replicas=150))
    slices = await until(lambda: slices_of(client), lambda found: len(ready(found)) == 150)
    sizes = [len(s["endpoints"]) for s in slices]
    # As upstream: a round's newcomers go to a slice with room for all of them, else to a new one; so how many
    # slices there are follows from how many pods became ready together, and only the bounds are certain.
    assert sum(sizes) == 150 and len(sizes) >= 2 and max(sizes) <= 100
    placed = [p["spec"]["nodeName"] for p in await client.list(PODS)]
    assert (placed.count("n1"), placed.count("n2")) == (75, 75)


def query(port: int, name: str) -> dnslib.DNSRecord:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect(("127.0.0.1", port))
        sock.send(dnslib.DNSRecord.question(name).pack())
        return dnslib.DNSRecord.parse(sock.recv(4096))


async def test_the_dns_process_answers_for_the_api_servers_own_name(client: Client, control: Control) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        port, http = one.getsockname()[1], two.getsockname()[1]
    process = start(
        "clusters.dns.server",
        "--kubeconfig",
        str(control.kubeconfig),
        "--listen",
        f"127.0.0.1:{port}",
        "--ready",
        f"127.0.0.1:{http}",
        "--lameduck",
        "0.05",
    )

    async def is_ready() -> int:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", http)
        except OSError:
            return 0
        writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
        status = int((await reader.read()).split(b" ")[1])
        writer.close()
        return status

    await until(is_ready, lambda status: status == 200)
    found = await asyncio.to_thread(query, port, "kubernetes.default.svc.cluster.local")
    assert [str(r.rdata) for r in found.rr] == ["10.43.0.1"]
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 5) == 0


async def test_controllers_and_dns_catch_up_after_the_api_server_was_out_of_reach(tmp_path: Path) -> None:
    made = await asyncio.to_thread(Control, tmp_path, controllers=False)  # they run here, behind the cable
    cable = Cable(made.socket.getsockname()[1])
    await cable.mend()
    dns = Server()
    async with (
        Client.from_kubeconfig(made.kubeconfig) as client,
        Client.from_kubeconfig(made.kubeconfig) as far,
    ):
        far.server = f"https://127.0.0.1:{cable.port}"
        running = [asyncio.create_task(run(far)), asyncio.create_task(dns.follow(far))]
        await client.create("/api/v1/nodes", node("n1"))
        await client.create(SERVICES, service())
        await until(lambda: slices_of(client), bool)
        cable.cut()
        await client.delete(f"{SERVICES}/web")
        await client.create(SERVICES, service("other"))
        await client.create(DEPLOYMENTS, deployment("other", replicas=2))
        await asyncio.sleep(0.1)
        assert await client.list(PODS) == [], "nothing may happen while the cable is cut"
        await cable.mend()
        await until(
            lambda: client.list(PODS), lambda pods: [p["spec"].get("nodeName") for p in pods] == ["n1", "n1"]
        )
        await until(lambda: slices_of(client, "other"), bool)

        async def codes() -> list[int]:
            return [
                dns.zone.answer(f"{name}.default.svc.cluster.local", "A").code for name in ("web", "other")
            ]

        await until(codes, lambda found: found == [3, 0])
        cable.cut()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    await asyncio.to_thread(made.close)


def test_a_missing_kubeconfig_ends_the_controllers_with_status_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            START.format("clusters.controllers.main"),
            "--kubeconfig",
            str(tmp_path / "none"),
        ],
        capture_output=True,
        timeout=20,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be read as a kubeconfig" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
