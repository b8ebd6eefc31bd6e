"""A kind cluster as the judge sees it: pods through the API, nodes and hosts outside through Docker."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clusters.base import ClusterError, Workload
from clusters.kind import faults, making
from clusters.kind.docker import addresses, docker, inside
from clusters.kind.options import Options, parse
from clusters.kind.workload import ContainerWorkload
from clusters.kubeconfig.cluster import KubeconfigCluster, is_ready

NETWORK = os.environ.get("KIND_EXPERIMENTAL_DOCKER_NETWORK", "kind")  # kind's own name for this choice
LABEL = "service-conformance.run"
PROXY = "kube-proxy"
_WITNESS = "router"  # the second host beside `outside`, which asks by ARP
_LISTEN = 20.0  # seconds for a program outside to listen; patience
_READY = 180.0  # seconds for the nodes of a new cluster, and for one that has power again
_ICMP = {
    "ipv4/icmp_ratelimit": 0,
    "ipv4/icmp_msgs_per_sec": 10_000,
    "ipv4/icmp_msgs_burst": 10_000,
    "ipv6/icmp/ratelimit": 0,
}
_SNAPSHOT = {
    "iptables-save": ("iptables-save",),
    "nft": ("nft", "list", "ruleset"),
    "conntrack": ("conntrack", "-L"),
}


class KindCluster(KubeconfigCluster):
    """Its nodes send every ICMP error from then on: thinned refusals would look like drops.

    Powers: hosts outside, snapshots, cuts, power, pauses of nodes, signals, restart of kube-proxy.
    """

    places = ("outside",)
    icmp_pause = 0.0

    def __init__(self, url: str, options: Options, folder: Path) -> None:
        super().__init__(url, folder / "kubeconfig")
        self.options, self._folder, self._made = options, folder, False
        self._run = secrets.token_hex(3)
        self._hosts: dict[str, str] = {}  # place -> container
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._starting = asyncio.Lock()

    @classmethod
    async def start(cls, url: str) -> KindCluster:
        """The cluster of this URL, made when it is not there. Raises ClusterError; leaves nothing then."""
        options = parse(url)
        cluster = cls(url, options, Path(tempfile.mkdtemp(prefix="service-conformance-kind-")))
        try:
            cluster._made = await making.have(options, cluster.kubeconfig)
            await cluster.api.open()
            if not await cluster.broken():  # it would never be Ready; what to do the caller says
                await cluster._settled()
                for node in await cluster._containers():
                    await faults.lift(node, _ICMP)
        except BaseException:
            await cluster.close()
            raise
        return cluster

    async def _settled(self) -> None:
        """Every node Ready, as after `kind create cluster --wait`."""
        try:
            async with asyncio.timeout(_READY):
                async for _ in looks():
                    with suppress(ClusterError):  # an API server that was just started
                        there = (await self.api.get("/api/v1/nodes"))["items"]
                        if there and len(await self.nodes()) == len(there):
                            return
        except TimeoutError as problem:
            raise ClusterError(
                f"{self.url}: not every node is Ready within {_READY:g} s; kubectl --kubeconfig "
                f"{self.kubeconfig} describe nodes says why"
            ) from problem

    async def close(self) -> None:
        """Remove the hosts outside, and the cluster when this run made it and nobody asked to keep it."""
        await super().close()
        for container in self._hosts.values():
            with suppress(ClusterError):
                await docker("rm", "-f", "-v", container)
        self._hosts.clear()
        if self._made and not self.options.keep:
            await making.remove(self.options.name)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def load_image(self, image: str) -> None:
        """Give an image that Docker has to every node. Raises ClusterError."""
        await making.load(self.options.name, image)

    # ------------------------------------------------------------ hosts outside

    async def place_outside(
        self,
        place: str,
        name: str,
        files: Mapping[str, bytes],
        argv: Sequence[str],
        port: int,
    ) -> Workload:
        """Run ``argv`` with ``files`` in a container on kind's network."""
        if place not in self.places:
            raise ClusterError(f"there is no place {place!r}; a kind cluster has {', '.join(self.places)}")
        container = await self._host(place)
        for file, data in files.items():
            await docker(
                "exec", "-i", container, "sh", "-c", f"cat > /{Path(file).name}", stdin=data.decode()
            )
        log = f"/{name}.log"
        start = ["sh", "-c", f'exec "$@" > {log} 2>&1', "sh", *argv]
        await docker("exec", "-d", "-w", "/", container, *start)
        workload = ContainerWorkload(name, place, self._addresses[place][0], port)
        try:
            async with asyncio.timeout(_LISTEN):
                async for _ in looks(0.05):
                    if await workload.listens():
                        return workload
        except TimeoutError as problem:
            said = (await inside(container, ["tail", "-n", "20", log], timeout=10.0))[1]
            raise ClusterError(
                f"{name} at {place} does not listen on port {port} after {_LISTEN:g} s",
                log=said.splitlines(),
            ) from problem
        raise AssertionError("looks() never ends")

    async def _host(self, place: str) -> str:
        """The container of a place, started when first asked for."""
        async with self._starting:
            if place not in self._hosts:
                container = f"{self.options.name}-{place}-{self._run}"
                await docker(
                    "run",
                    "-d",
                    "--init",
                    "--pull=never",
                    "--name",
                    container,
                    "--network",
                    NETWORK,
                    "--label",
                    f"{LABEL}={self._run}",
                    "--cap-add=NET_ADMIN",
                    "--cap-add=NET_RAW",
                    self.options.outside_image,
                    "sleep",
                    "infinity",
                )
                self._hosts[place] = container
                self._addresses[place] = await addresses(container, NETWORK)
            return self._hosts[place]

    async def strays(self) -> list[str]:
        """See :class:`clusters.base.CanStray`: the containers in which runs probed from outside."""
        own = ["--filter", f"label={LABEL}", "--filter", f"name=^{self.options.name}-"]
        return (await docker("ps", "-a", *own, "--format", "{{.Names}}")).split()

    async def remove_strays(self, names: Sequence[str]) -> None:
        """See :class:`clusters.base.CanStray`."""
        await docker("rm", "-f", "-v", *names)

    async def broken(self) -> dict[str, str]:
        """See :class:`clusters.base.CanMend`."""
        found = {node: await faults.wrong(node) for node in await self._containers()}
        return {node: wrong for node, wrong in found.items() if wrong}

    async def mend(self) -> None:
        """See :class:`clusters.base.CanMend`."""
        for node in await self.broken():
            await faults.mend(node)
        await self._settled()

    async def _containers(self) -> list[str]:
        """The containers of all nodes, those that do not run among them; no other that kind has."""
        own = ["--filter", f"label=io.x-k8s.kind.cluster={self.options.name}"]
        told = await docker("ps", "-a", *own, "--format", '{{.Names}} {{.Label "io.x-k8s.kind.role"}}')
        rows = [line.split() for line in told.splitlines()]
        return [name for name, role in rows if role in ("control-plane", "worker")]

    def address_of(self, place: str) -> tuple[str, ...]:
        """The addresses of a place."""
        if place not in self._addresses:
            raise ClusterError(
                f"there is no place {place!r} yet; there are {', '.join(self._addresses) or 'none'}"
            )
        return self._addresses[place]

    # ------------------------------------------------------------ nodes

    async def _container(self, place: str) -> str:
        if place in (*self.places, _WITNESS):
            return await self._host(place)
        return place  # kind names a node's container like the node

    async def run_on(self, place: str, argv: Sequence[str], *, timeout: float) -> tuple[int, str, str]:
        """Run ``argv`` on a node, at ``outside`` or on the witness; status, output, error output."""
        return await inside(await self._container(place), argv, timeout=timeout)

    async def snapshot(self, node: str) -> dict[str, str]:
        """Rules, connection tracking and the log of kube-proxy of a node, by name."""
        texts = {name: (await inside(node, argv, timeout=60.0))[1] for name, argv in _SNAPSHOT.items()}
        for pod in await self._proxies(node):
            path = f"/api/v1/namespaces/kube-system/pods/{pod['metadata']['name']}/log?tailLines=1000"
            status, said = await self.api.request("GET", path, timeout=30.0)
            if status == 200:
                texts[f"log/{PROXY}"] = said.decode("utf-8", "replace")
        return texts

    async def _proxies(self, node: str) -> list[dict[str, Any]]:
        """The pods on ``node`` that provide Services, as kubeadm and ``implementation/deploy`` label them."""
        query = f"fieldSelector=spec.nodeName={node}&labelSelector=k8s-app={PROXY}"
        found: list[dict[str, Any]] = (await self.api.get(f"/api/v1/namespaces/kube-system/pods?{query}"))[
            "items"
        ]
        return found

    async def cut_link(self, place: str, *, silently: bool) -> float:
        """Cut the network of a node or host, with its carrier or silently."""
        return await faults.cut(await self._container(place), silently=silently)

    async def heal_link(self, place: str) -> float:
        """Undo ``cut_link``; a link that is whole stays so."""
        return await faults.heal(await self._container(place))

    async def kill_node(self, node: str) -> float:
        """End every process of the node at once; its cable is gone with it."""
        return await faults.power_off(node)

    async def revive_node(self, node: str) -> float:
        """Start the node again; gives when it ran, and returns when it is Ready."""
        at = await faults.power_on(node)
        await faults.mend(node)  # one that was only silenced when its power should have gone
        await faults.lift(node, _ICMP)
        await self._settled()
        return at

    async def pause_node(self, node: str) -> float:
        """Freeze every process of the node; its kernel goes on forwarding."""
        return await faults.pause(node)

    async def resume_node(self, node: str) -> float:
        """Thaw the node; gives when it went on, and returns when it is Ready."""
        at = await faults.resume(node)
        await self._settled()
        return at

    async def signal(self, place: str, command: str, number: int) -> float:
        """Send a signal to the processes of a node called ``command``."""
        return await faults.signal(place, command, number)

    async def restart(self, place: str, command: str) -> float:
        """Delete the pod of kube-proxy on a node and wait until its successor is Ready."""
        gone = await self._proxies(place)
        old = [pod["metadata"]["uid"] for pod in gone]
        for pod in gone:
            path = f"/api/v1/namespaces/kube-system/pods/{pod['metadata']['name']}"
            await self.api.request("DELETE", path, timeout=30.0)
        try:
            async with asyncio.timeout(_READY):
                async for _ in looks():
                    new = [pod for pod in await self._proxies(place) if pod["metadata"]["uid"] not in old]
                    if new and all(is_ready(pod) for pod in new):
                        return asyncio.get_running_loop().time()
        except TimeoutError as problem:
            raise ClusterError(
                f"{place}: no pod of {command} is Ready again within {_READY:g} s"
            ) from problem
        raise AssertionError("looks() never ends")


async def looks(pause: float = 0.25) -> AsyncIterator[None]:
    """The moments, ``pause`` seconds apart, at which a question is asked again."""
    while True:
        yield
        await asyncio.sleep(pause)
