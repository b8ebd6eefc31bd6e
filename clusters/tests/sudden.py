"""A cluster whose parts are killed at random moments while Services change and connections flow.

Everything follows from one seed. Three things go on at once, each on random numbers of its own: programs are
killed, Services change, connections are made to one Service that nobody touches.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import re
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from clusters import implementations
from clusters.base import Workload
from clusters.client import AlreadyExists, ApiError, Client, NotFound, Unreachable
from clusters.netns.cluster import NetnsCluster
from clusters.tests import sudden_traffic as traffic
from clusters.tests.netns_pods import PODS, ready_pod, until

Object = dict[str, Any]
SERVICES, SLICES = "/api/v1/namespaces/default/services", "/apis/discovery.k8s.io/v1/endpointslices"
OWN = ("api-server", "controllers")
POOL = ("192.168.2.200", "192.168.2.225")
PROXY, SPEAKER = "kube-proxy", "speaker"
PATIENCE = 30.0  # seconds to converge; it takes less than one
_LISTS = (("iptables-save", "-t", "nat"), ("iptables-save", "-t", "filter"), ("nft", "-j", "list", "ruleset"))


class Disturbed:
    """One cluster with one implementation, and what must be true of it."""

    def __init__(self, cluster: NetnsCluster, client: Client, seed: str) -> None:
        self.cluster, self.client = cluster, client
        self.rng = {part: random.Random(f"{seed}/{part}") for part in ("kills", "changes")}
        self.wanted: dict[str, Object] = {}  # name -> spec, as last asked for
        self.killed: list[tuple[float, float, str, str]] = []  # from, until it was ready, place, program
        self.askers: list[Workload] = []
        self._began = 0.0  # when everything was served for the first time
        self._programs: list[tuple[str, str]] = []
        self._mode = ""  # of the proxy

    async def stand(self, implementation: str) -> None:
        """Two who answer, the untouched Service before them, and who asks for it in every way."""
        nodes = [node.name for node in await self.cluster.nodes()]
        described = implementations.find(implementation)
        await self.cluster.provide(described)
        self._programs = [(node, one.name) for one in described.per_node for node in nodes]
        self._programs += [("control-plane", one.name) for one in described.controllers]
        self._programs += [("control-plane", name) for name in OWN]
        words = [word for one in described.per_node for word in one.args]
        self._mode = next(word.partition("=")[2] for word in words if word.startswith("--proxy-mode="))
        balanced = any(one.name == SPEAKER for one in described.per_node)
        if balanced:
            pools = f"address-pools:\n- name: d\n  protocol: layer2\n  addresses:\n  - {'-'.join(POOL)}\n"
            await self.client.create("/api/v1/namespaces/metallb-system/configmaps",
                                     {"metadata": {"name": "config"}, "data": {"config": pools}})
        await self.client.create("/api/v1/namespaces/default/configmaps", traffic.config_map())
        for number, node in enumerate(nodes):
            await self.client.create(PODS, traffic.pod(f"web-{number}", node, "serve", app="web"))
        kind = "LoadBalancer" if balanced else "NodePort"
        made = await self.client.create(SERVICES, self._service("untouched", {"type": kind}))
        for number in range(len(nodes)):
            await ready_pod(self.client, f"web-{number}")
        await self._ask(nodes, made, balanced)

    async def _ask(self, nodes: list[str], service: Object, balanced: bool) -> None:
        port = service["spec"]["ports"][0]["nodePort"]
        outside = {f"node port, {node.name}": [node.addresses[0], port]
                   for node in await self.cluster.nodes()}
        if balanced:
            outside["balancer"] = [await until(self._balancer, PATIENCE), 80]
        inside = {"cluster address": [service["spec"]["clusterIP"], 80]}
        self.askers.append(await self.cluster.place_outside(
            "outside", "asker", {"traffic.py": traffic.PROGRAM.encode()},
            ["python3", "traffic.py", json.dumps(outside), str(traffic.CONTROL)], traffic.CONTROL))
        await self.client.create(PODS, traffic.pod("asker", nodes[-1], json.dumps(inside)))
        await ready_pod(self.client, "asker")
        self.askers.append(self.cluster.pod("default", "asker", traffic.CONTROL))
        await self.flows()
        self._began = time.monotonic()

    async def _balancer(self) -> str:
        service = await self.client.get(f"{SERVICES}/untouched")
        found = (service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}])[0]
        return str(found.get("ip") or "")

    def _service(self, name: str, spec: Object) -> Object:
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}}

    async def disturb(self, kills: int) -> None:
        """Kill so many programs at random moments, while Services change all the while."""
        calm = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._change(calm))
            for _ in range(kills):
                await asyncio.sleep(self.rng["kills"].uniform(0.0, 0.4))
                await self._kill(*self.rng["kills"].choice(self._programs))
            calm.set()

    async def _kill(self, place: str, program: str) -> None:
        began = time.monotonic()
        if program in OWN:
            await self._own_dies(program)
        else:
            await self.cluster.signal(place, program, signal.SIGKILL)
            await asyncio.sleep(self.rng["kills"].uniform(0.0, 0.3))
            await self.cluster.restart(place, program)
        self.killed.append((began, time.monotonic(), place, program))

    async def _own_dies(self, program: str) -> None:
        """Those of the cluster itself come back by themselves."""
        await self.cluster.signal("control-plane", program, signal.SIGKILL)
        if program == "api-server":
            await until(lambda: self._done(self.client.list("/api/v1/nodes")), PATIENCE)

    async def _done(self, asked: Awaitable[Any]) -> bool:
        try:
            await asked
        except Unreachable:
            return False
        return True

    async def _change(self, calm: asyncio.Event) -> None:
        """Make, change and remove Services until it is to be calm; ``wanted`` is what was asked for last."""
        rng = self.rng["changes"]
        while not calm.is_set():
            name = f"s-{rng.randrange(12)}"
            path = f"{SERVICES}/{name}"
            if name not in self.wanted:
                kind = rng.choice(["ClusterIP", "NodePort", "LoadBalancer"])
                self.wanted[name] = {"type": kind, "ports": [{"port": rng.randrange(1000, 2000),
                                                              "targetPort": 80, "protocol": "TCP"}]}
                await self._insist(lambda: self.client.create(
                    SERVICES, self._service(name, self.wanted[name])), AlreadyExists)  # noqa: B023
            elif rng.random() < 0.4:
                del self.wanted[name]
                await self._insist(lambda: self.client.delete(path), NotFound)  # noqa: B023
            else:
                ports = [{"port": rng.randrange(1000, 2000), "targetPort": 80, "protocol": "TCP"}]
                self.wanted[name] |= {"ports": ports}
                patch = [{"op": "replace", "path": "/spec/ports", "value": ports}]
                await self._insist(lambda: self.client.patch(path, patch, "json"))  # noqa: B023
            await asyncio.sleep(rng.uniform(0.0, 0.05))

    async def _insist(self, ask: Callable[[], Awaitable[Any]], *had: type[ApiError]) -> None:
        """Ask until there is an answer; one that says it was done before is one as well."""
        while True:
            try:
                await ask()
                return
            except had:
                return
            except Unreachable:
                await asyncio.sleep(0.01)

    async def lost(self) -> dict[str, list[Any]]:
        """The connections lost by what they were made to, with those a dying speaker may cost left out."""
        found: dict[str, list[Any]] = {}
        excused = [(began, ready + 2.0) for began, ready, _place, program in self.killed
                   if program == SPEAKER]
        for asker in self.askers:
            for target, counted in (await traffic.told(asker)).items():
                found[target] = [one for one in counted["lost"] if one[0] > self._began and not (
                    target == "balancer" and any(one[0] < end and one[1] > began for began, end in excused))]
        return found

    async def flows(self) -> None:
        """Wait until every target has answered ten times in a row from now on."""
        since: dict[str, tuple[int, int]] = {}  # sent and lost, when it began to be counted

        async def ten() -> bool:
            steady = []
            for asker in self.askers:
                for target, counted in (await traffic.told(asker)).items():
                    sent, lost = counted["sent"], len(counted["lost"])
                    if target not in since or lost > since[target][1]:
                        since[target] = sent, lost
                    steady.append(sent >= since[target][0] + 10)
            return all(steady)

        await until(ten, PATIENCE)

    async def objects_are_as_asked(self) -> None:
        """No Service lost, none come back; each has the slices and the addresses it must have."""
        services = {item["metadata"]["name"]: item for item in await self.client.list(SERVICES)}
        extra = {"kubernetes", "untouched"}
        assert set(services) - extra == set(self.wanted)
        for name, spec in self.wanted.items():
            have = services[name]["spec"]
            assert have["type"] == spec["type"]
            assert have["ports"][0]["port"] == spec["ports"][0]["port"]
        numbers = [port["nodePort"] for item in services.values() for port in item["spec"]["ports"]
                   if "nodePort" in port]
        addresses = [item["spec"]["clusterIP"] for item in services.values()]
        assert len(set(numbers)) == len(numbers)
        assert len(set(addresses)) == len(addresses)

    async def slices_are_as_they_must(self) -> bool:
        """Whether each Service has one slice of both who answer, and no slice is without its Service."""
        pods = await self.client.list(PODS, label="app=web")
        ready = sorted(pod["status"]["podIP"] for pod in pods)
        services = {item["metadata"]["name"] for item in await self.client.list(SERVICES)} - {"kubernetes"}
        found: dict[str, list[str]] = {}
        for item in await self.client.list(SLICES):
            owner = item["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")
            if item["metadata"]["namespace"] == "default" and owner != "kubernetes":
                found.setdefault(owner, []).extend(
                    address for one in item["endpoints"] if one["conditions"].get("ready")
                    for address in one["addresses"])
        return {name: sorted(held) for name, held in found.items()} == dict.fromkeys(services, ready)

    async def addresses_are_given(self) -> bool:
        """Whether each Service of type LoadBalancer has one address of the pool, each its own."""
        given = []
        for item in await self.client.list(SERVICES):
            ingress = (item.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
            if len(ingress) != (item["spec"]["type"] == "LoadBalancer"):
                return False
            given += [ipaddress.ip_address(one["ip"]) for one in ingress]
        low, high = (ipaddress.ip_address(text) for text in POOL)
        return len(set(given)) == len(given) and all(low <= one <= high for one in given)

    async def rules(self) -> dict[str, list[str]]:
        """The rules of every node, in an order of their own, without what only counts or numbers."""
        found = {}
        for node in await self.cluster.nodes():
            texts = []
            for argv in _LISTS:
                said = await self._on(node.name, *argv)
                texts += _ruleset(said) if argv[0] == "nft" else _saved(said)
            if self._mode == "nftables":
                texts += _shown(await self._on(node.name, "python3", "-m", "implementation.cli", "show"))
            found[node.name] = sorted(texts)
        return found

    async def begin_anew(self) -> None:
        """Every proxy killed, every rule but the pod network's removed, every proxy started."""
        for node in await self.cluster.nodes():
            await self.cluster.signal(node.name, PROXY, signal.SIGKILL)
            for line in (await self._on(node.name, "nft", "list", "tables")).splitlines():
                if line != "table ip cni":
                    await self._on(node.name, "nft", "delete", *line.split())
            await self.cluster.restart(node.name, PROXY)

    async def _on(self, node: str, *argv: str) -> str:
        status, said, error = await self.cluster.run_on(node, argv, timeout=30)
        assert status == 0, f"{' '.join(argv)} on {node}: {error}"
        return said


def _saved(text: str) -> list[str]:
    """The lines of iptables-save that are rules and chains, counters set aside."""
    return [line.partition(" [")[0] for line in text.splitlines() if line and line[0] in ":-"]


def _ruleset(text: str) -> list[str]:
    """What nft lists outside iptables' own tables: how many rows each set and map has, and no stranger.

    Rows of mode nftables carry numbers that depend on what came first; ``show`` tells what they mean.
    """
    found = []
    for entry in json.loads(text)["nftables"]:
        kind, about = next(iter(entry.items()))
        if kind in ("set", "map") and about["name"] not in ("variant", "fate", "gate"):
            found.append(f"{kind} {about['family']} {about['table']} {about['name']}: "
                         f"{len(about.get('elem', ()))}")
        elif kind == "table":
            found.append(f"table {about['family']} {about['name']}")
    return found


def _shown(text: str) -> list[str]:
    """What mode nftables says it serves, whichever row each endpoint has."""
    def in_order(found: re.Match[str]) -> str:
        return "-> " + ", ".join(sorted(found[1].split(", ")))

    return [re.sub(r"-> ([^;]+)", in_order, line) for line in text.splitlines()]


def differences(stood: dict[str, list[str]], fresh: dict[str, list[str]]) -> list[str]:
    """A line for each rule that only one of two dumps holds."""
    found = []
    for node, rules in stood.items():
        found += [f"{node}: stood, not fresh: {rule}" for rule in rules if rule not in fresh[node]]
        found += [f"{node}: fresh, not stood: {rule}" for rule in fresh[node] if rule not in rules]
    return found
