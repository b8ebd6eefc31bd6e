"""The imitation of k3s's ServiceLB: forwards, takes ports for itself, and fights over the status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from clusters.client import Client
from clusters.controllers import servicelb
from clusters.locate import locate
from clusters.netns import hostports, klipper
from clusters.netns.cluster import NetnsCluster
from clusters.tests.netns_pods import get_from, is_ready, until

Object = dict[str, Any]
SERVICES, PODS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/kube-system/pods"
BOTH = ["192.168.2.114", "192.168.2.115"]
_PROXY = "add table ip p; add chain ip p c { type nat hook prerouting priority -100; }; add rule ip p c "


def balanced(name: str, port: int) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "selector": {"app": "none"}, "ports": [{"port": port}]}}


@pytest.fixture
async def cluster() -> AsyncIterator[NetnsCluster]:
    made = await locate("netns://2-nodes?seed&servicelb")
    assert isinstance(made, NetnsCluster)
    yield made
    await made.close()


@pytest.mark.kernel
async def test_forwards_by_every_node_takes_the_port_and_fights(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        async def has(path: str, wanted: list[str]) -> Object | None:
            item = await client.get(path)
            held = item["status"]["loadBalancer"].get("ingress", [])
            return item if [one["ip"] for one in held] == wanted else None

        traefik = "/api/v1/namespaces/kube-system/services/traefik"
        service = await until(lambda: has(traefik, BOTH))
        pods = {pod["metadata"]["name"]: pod for pod in await client.list(PODS) if is_ready(pod)}
        forwarding = [name for name in pods
                      if name.startswith(f"svclb-traefik-{service['metadata']['uid'][:8]}-")]
        assert len(forwarding) == 2
        # A proxy of one rule: the Service's own address leads to its pod.
        address = next(p["status"]["podIP"] for n, p in pods.items() if n.startswith("traefik-"))
        for node in await cluster.nodes():
            rule = f"ip daddr 10.43.212.219 tcp dport 80 dnat to {address}:80"
            await cluster.run_on(node.name, ["nft", _PROXY + rule], timeout=5)
        for target in BOTH:
            assert await get_from(cluster, "outside", f"http://{target}/") == "404 page not found\n"

        await client.create(SERVICES, balanced("other", 8080))
        await until(lambda: has(f"{SERVICES}/other", BOTH))
        stolen = {"status": {"loadBalancer": {"ingress": [{"ip": "192.168.2.200"}]}}}
        await client.patch_status(f"{SERVICES}/other", stolen)
        await until(lambda: has(f"{SERVICES}/other", BOTH))

        await client.create(SERVICES, balanced("late", 80))

        async def refused() -> bool:
            late = [pod for pod in await client.list(PODS) if servicelb.owner(pod) == ("default", "late")]
            return len(late) == 2 and all("free ports" in str(pod["status"]) for pod in late)

        await until(refused)
        assert await has(f"{SERVICES}/late", []), "pending: port 80 is taken on every node"
        near = balanced("near", 8081)
        near["spec"] |= {"externalTrafficPolicy": "Local", "selector": service["spec"]["selector"]}
        path = "/api/v1/namespaces/kube-system/services"
        await client.create(path, near)
        home = next(p["status"]["hostIP"] for n, p in pods.items() if n.startswith("traefik-"))
        await until(lambda: has(f"{path}/near", [home]))
        for made in (f"{path}/near", f"{SERVICES}/other", f"{SERVICES}/late"):
            await client.delete(made)

        async def only_traefik() -> bool:
            return len([pod for pod in await client.list(PODS) if servicelb.owner(pod)]) == 2

        await until(only_traefik)
        _status, said, _error = await cluster.run_on(
            "k3s-master-rpi001", ["nft", "list", "map", "ip", "hostports", "ports"], timeout=5)
        assert "8080" not in said


def service(**spec: Any) -> Object:
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}]
    return {"metadata": {"name": "web", "namespace": "shop", "uid": "0123456789"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.43.0.9"], "ports": ports, **spec}}


def placed(node: str, ready: str) -> Object:
    pod = servicelb.pod_for(service(), node)
    pod["spec"]["nodeName"] = node
    return pod | {"status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_local_traffic_goes_to_the_nodes_own_port_and_only_nodes_with_endpoints_are_named() -> None:
    local = service(externalTrafficPolicy="Local")
    env = {one["name"]: one for one in servicelb.pod_for(local, "a")["spec"]["containers"][0]["env"]}
    assert env["DEST_PORT"]["value"] == "30080"
    assert env["DEST_IPS"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"
    nodes = [{"metadata": {"name": name}, "status": {"addresses": [
        {"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]}}
        for name, address in (("a", "10.0.0.2"), ("b", "10.0.0.1"), ("c", "10.0.0.3"))]
    pods = [placed("a", "True"), placed("b", "True"), placed("c", "False")]
    slices = [{"endpoints": [{"nodeName": "a"}, {"nodeName": "b", "conditions": {"ready": False}}]}]
    assert servicelb.addresses(service(), pods, nodes, slices) == ["10.0.0.1", "10.0.0.2"]
    assert servicelb.addresses(local, pods, nodes, slices) == ["10.0.0.2"]


def test_a_pod_that_forwards_to_what_is_no_longer_wanted_is_replaced() -> None:
    pod = servicelb.pod_for(service(), "a")
    assert servicelb.forwards(pod, service())
    assert not servicelb.forwards(pod, service(clusterIPs=["10.43.0.8"]))
    assert not servicelb.forwards(pod, service(externalTrafficPolicy="Local"))
    assert servicelb.owner(pod) == ("shop", "web")
    assert [servicelb.wants(one) for one in (
        service(), service(type="NodePort"), service(loadBalancerClass="x/y"))] == [True, False, False]


def test_rules_of_host_ports_and_of_the_forwarding_pod() -> None:
    pod = servicelb.pod_for(service(), "a")
    assert hostports.wanted(pod) == [("tcp", 80, 80)]
    assert "tcp . 80 : 10.42.0.7 . 80" in hostports.opened(pod, "10.42.0.7")
    assert "ports { tcp . 80 }" in hostports.closed(pod)
    name, text = klipper.rules({"SRC_PORT": "53", "DEST_PROTO": "UDP", "DEST_PORT": "31000",
                                "DEST_IPS": "10.43.0.9,fd00::9"})
    assert name == "lb-udp-53"
    assert "udp dport 53 dnat to 10.43.0.9:31000" in text
    with pytest.raises(ValueError, match="invalid literal"):
        klipper.rules({"SRC_PORT": "53; flush ruleset", "DEST_PROTO": "TCP"})
