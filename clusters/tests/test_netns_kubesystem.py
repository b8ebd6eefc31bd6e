"""kube-system of the post: its numbers, what answers, and the address Traefik keeps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clusters.client import Client
from clusters.locate import locate
from clusters.netns import images
from clusters.netns.cluster import NetnsCluster
from clusters.tests.kubectl_shell import typed
from clusters.tests.netns_pods import get_from, is_ready, until

pytestmark = pytest.mark.kernel
SPACE = "/api/v1/namespaces/kube-system"


@pytest.fixture
async def cluster() -> AsyncIterator[NetnsCluster]:
    made = await locate("netns://1-node?seed")
    assert isinstance(made, NetnsCluster)
    yield made
    await made.close()


async def test_the_posts_services_are_served_by_running_pods(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        async def ready() -> dict[str, str] | None:
            pods = [pod for pod in await client.list(f"{SPACE}/pods")
                    if is_ready(pod) and not pod["metadata"]["name"].startswith("helm-install-")]
            return {pod["metadata"]["name"].rsplit("-", 2)[0]: pod["status"]["podIP"] for pod in pods} \
                if len(pods) == 4 else None

        address = await until(ready)
        assert sorted(address) == ["coredns", "local-path-provisioner", "metrics-server", "traefik"]
        services = {one["metadata"]["name"]: one for one in await client.list(f"{SPACE}/services")}
    seen = {name: (one["spec"]["clusterIP"], [(port["port"], port["protocol"], port.get("nodePort"))
                                              for port in one["spec"]["ports"]])
            for name, one in services.items()}
    assert seen == {
        "kube-dns": ("10.43.0.10", [(53, "UDP", None), (53, "TCP", None), (9153, "TCP", None)]),
        "metrics-server": ("10.43.143.113", [(443, "TCP", None)]),
        "traefik-prometheus": ("10.43.243.252", [(9100, "TCP", None)]),
        "traefik": ("10.43.212.219", [(80, "TCP", 32452), (443, "TCP", 32320)]),
    }
    assert services["traefik"]["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.168.2.114"
    asked = {f"http://{address['traefik']}/": "404 page not found\n",
             f"http://{address['traefik']}:443/": "404 page not found\n",
             f"http://{address['metrics-server']}:443/": "ok\n",
             f"http://{address['coredns']}:8181/metrics": "cluster_dns_ready 1\n"}
    said = await asyncio.gather(*(get_from(cluster, "k3s-master-rpi001", url) for url in asked))
    assert said == list(asked.values())
    assert "traefik_stand_in 1" in await get_from(
        cluster, "k3s-master-rpi001", f"http://{address['traefik']}:9100/metrics")


async def test_kubectl_prints_kube_system_as_the_post_does(cluster: NetnsCluster, tmp_path: Path) -> None:
    kubectl = typed(cluster.kubeconfig, tmp_path)
    asked = ("get", "all", "-n", "kube-system")
    names = ["coredns", "local-path-provisioner", "metrics-server", "traefik"]

    async def printed() -> str | None:
        text = await asyncio.to_thread(kubectl, *asked)
        words = " ".join(text.split())  # the lists are asked for one after another, pods first
        ready = all(f"deployment.apps/{name} 1/1 1 1" in words for name in names)
        ready = ready and words.count(" 1/1 Running ") == len(names) and " 0/1 Completed " in words
        return text if ready and "1/1" in text.splitlines()[-1] else None

    text = await until(printed)
    blocks = [[line.split() for line in block.splitlines()] for block in text.split("\n\n")]
    assert [block[0] for block in blocks] == [
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
        ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"],
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
        ["NAME", "DESIRED", "CURRENT", "READY", "AGE"],
        ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"],
    ]
    pods, services, deployments, sets, jobs = (block[1:] for block in blocks)
    shown = {re.sub(r"(-[a-z0-9]{10})?-[a-z0-9]{5}$", "", line[0]): line[1:3] for line in pods}
    assert shown == {f"pod/{name}": ["1/1", "Running"] for name in names} | {
        "pod/helm-install-traefik": ["0/1", "Completed"]}
    assert {line[0]: line[1:5] for line in services} == {
        "service/kube-dns": ["ClusterIP", "10.43.0.10", "<none>", "53/UDP,53/TCP,9153/TCP"],
        "service/metrics-server": ["ClusterIP", "10.43.143.113", "<none>", "443/TCP"],
        "service/traefik-prometheus": ["ClusterIP", "10.43.243.252", "<none>", "9100/TCP"],
        "service/traefik": ["LoadBalancer", "10.43.212.219", "192.168.2.114", "80:32452/TCP,443:32320/TCP"],
    }
    assert [line[:4] for line in deployments] == [
        [f"deployment.apps/{name}", "1/1", "1", "1"] for name in names]
    assert [(re.sub(r"-[a-z0-9]{10}$", "", line[0]), line[1:4]) for line in sets] == [
        (f"replicaset.apps/{name}", ["1", "1", "1"]) for name in names]
    assert [line[:3] for line in jobs] == [["job.batch/helm-install-traefik", "Complete", "1/1"]]


@pytest.mark.parametrize(("reference", "name"), [
    ("rancher/library-traefik:1.7.19", "traefik"), ("traefik:2.9", "traefik"),
    ("rancher/mirrored-metrics-server:v0.6", "metrics-server"), ("rancher/coredns-coredns:1.6.9",
                                                                 "coredns/coredns"),
])
def test_k3s_names_its_images_in_its_own_ways(reference: str, name: str) -> None:
    found = images.find(reference, {})
    assert found is not None
    assert found.name == name
