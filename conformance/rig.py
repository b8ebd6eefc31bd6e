"""What all requirements of a run share: agents in a pod on every node and outside, mirrors of the API, one
token.

Raised once. Every object carries the run's label and is removed at the end, unless the cluster ends with the
run.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from clusters.base import (
    CanCutLink,
    CanKillNode,
    CanPauseNode,
    CanPlaceOutside,
    CanSignal,
    CanSnapshot,
    Cluster,
    ClusterError,
    Node,
)
from conformance import agent, leftovers, objects
from conformance.features import Declaration
from conformance.kube import Kube, KubeError, Mirror, Objects
from conformance.objects import AGENT_CONFIG, AGENT_FILE, RUN_LABEL, Object
from conformance.timing import Timing
from conformance.vantage import CONTROL_PORT, Vantage

T = TypeVar("T")
WITNESS = "router"  # the host on the nodes' network that is neither a node nor the place that probes
_STUCK = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff"}
POWERS = {
    "two-nodes": "at least two nodes",
    "dual-stack": "addresses of both families on nodes and pods",
    "outside": "a place outside the cluster from which to send",
    "snapshot": "reading rules and logs of a node",
    "witness": "a second host on the nodes' network, which asks and listens by ARP",
    "cut": "cutting the cable of a node", "kill": "taking the power from a node",
    "pause": "holding all processes of a node still",
    "signal": "restarting what is judged",
    "seed": "nothing but room for the post's Deployment and Services",
}


@dataclass(frozen=True)
class Backend:
    """A pod that answers with its nonce."""

    name: str
    nonce: str
    node: str
    ips: tuple[str, ...]  # one a family, the cluster's first family first
    vantage: Vantage

    @property
    def ip(self) -> str:
        """The address of the cluster's first family."""
        return self.ips[0]


@dataclass(frozen=True)
class Wanted:
    """An agent pod that shall be."""

    name: str
    node: str
    labels: Mapping[str, str]
    echo: tuple[str, ...] = ()
    on_host: bool = False  # in the node's own network


class Rig:
    """Shared by all bodies of one run."""

    def __init__(
        self, cluster: Cluster, kube: Kube, *, run: str, image: str, timing: Timing, declaration: Declaration,
        now: Callable[[], float], nextcloud: str = "nextcloud:latest",
    ) -> None:
        self.cluster, self.kube, self.run, self.image, self.nextcloud = cluster, kube, run, image, nextcloud
        self.timing, self.declaration, self.now = timing, declaration, now
        self.nodes: list[Node] = []
        self.clients: list[Vantage] = []
        self.outside: Vantage | None = None
        self.token = secrets.token_hex(16)
        self.namespace = f"conf-{run}-rig"
        self._shared: dict[str, asyncio.Future[Any]] = {}
        self._numbers: dict[str, int] = {}
        self._beating: asyncio.Task[None] | None = None
        self._configured: dict[str, asyncio.Task[Object]] = {}
        self.pods = Mirror(kube, "Pod", "v1", selector=f"{RUN_LABEL}={run}")
        self.slices = Mirror(kube, "EndpointSlice", "discovery.k8s.io/v1")
        self.balanced: Mirror | None = None
        self.refusing = asyncio.Lock()  # held by who asks for refusals where a node sends few

    async def powers(self) -> frozenset[str]:
        """Which of POWERS this cluster has."""
        self.nodes = await self.cluster.nodes()
        found = {"seed"}
        if len(self.nodes) > 1:
            found.add("two-nodes")
        if self.nodes and all(_of_both(node.addresses) and (not node.pod_cidrs or _of_both(node.pod_cidrs))
                              for node in self.nodes):
            found.add("dual-stack")
        if isinstance(self.cluster, CanPlaceOutside) and "outside" in self.cluster.places:
            found.add("outside")
        if isinstance(self.cluster, CanSnapshot):
            found.add("snapshot")
            if await _has_witness(self.cluster):
                found.add("witness")
        powers = {"cut": CanCutLink, "kill": CanKillNode, "pause": CanPauseNode, "signal": CanSignal}
        return frozenset(found | {name for name, power in powers.items() if isinstance(self.cluster, power)})

    async def stand(self, needs: frozenset[str]) -> None:
        """Raise the agents that ``needs`` asks for: a client pod on each node always, one outside when
        needed.

        Raises KubeError, ClusterError or VantageError, which are the suite's own trouble.
        """
        await self.make_namespace(self.namespace)
        self._beating = asyncio.create_task(leftovers.keep_alive(self.kube, self.namespace, self.run))
        wanted = [
            Wanted(f"client-{number}", node.name, {"app": "client"}) for number, node in enumerate(self.nodes)
        ]
        async with asyncio.TaskGroup() as group:
            pods = group.create_task(self.agents(self.namespace, wanted))
            outside = group.create_task(self._place_outside()) if "outside" in needs else None
        self.clients = [backend.vantage for backend in pods.result()]
        self.outside = outside.result() if outside else None

    def services(self) -> Mirror:
        """A mirror of all Services, followed from when it is first asked for."""
        if self.balanced is None:
            self.balanced = Mirror(self.kube, "Service", "v1")
        return self.balanced

    async def node_agents(self) -> list[Backend]:
        """An agent in the network of each node itself, in the nodes' order; started when first asked for."""
        async def start() -> list[Backend]:
            wanted = [
                Wanted(f"node-{number}", node.name, {"app": "node"}, on_host=True)
                for number, node in enumerate(self.nodes)
            ]
            return await self.agents(self.namespace, wanted)

        return await self.once("node-agents", start)

    async def once(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        """What several requirements share: made for the first that asks, the same for all, as is its failure.
        """
        if name not in self._shared:
            self._shared[name] = asyncio.ensure_future(make())
        return cast(T, await asyncio.shield(self._shared[name]))

    def number(self, name: str) -> int:
        """A small number for each name, the same whenever it is asked for in this run."""
        return self._numbers.setdefault(name, len(self._numbers))

    def shares(self, name: str) -> bool:
        """True once somebody has asked for what is shared by this ``name``."""
        return name in self._shared

    async def _place_outside(self) -> Vantage:
        assert isinstance(self.cluster, CanPlaceOutside)
        arguments = objects.agent_arguments("outside", _nonce(), self.token, CONTROL_PORT, ())
        workload = await self.cluster.place_outside(
            "outside", "agent", {AGENT_FILE: _program().encode()}, ["python3", AGENT_FILE, *arguments],
            CONTROL_PORT,
        )
        vantage = Vantage("outside", workload, self.token, self.now)
        await vantage.hello()
        return vantage

    async def make_namespace(self, name: str) -> None:
        """Create a namespace of the run."""
        await self.kube.create(objects.namespace(name, self.run))

    async def share_namespace(self, name: str) -> None:
        """Create a namespace unless it is there; only one that the run made is removed at its end."""
        answer = await self.kube.attempt(objects.namespace(name, self.run))
        if not answer.ok and answer.code != 409:
            raise KubeError(f"create Namespace {name}: {answer.said()}")

    async def agents(self, namespace: str, wanted: Sequence[Wanted]) -> list[Backend]:
        """Start agent pods and wait until each is ready and has said hello, in the order given."""
        await self._configure(namespace)
        nonces = [_nonce() for _ in wanted]
        async with asyncio.TaskGroup() as group:
            for one, nonce in zip(wanted, nonces, strict=True):
                made = objects.agent_pod(
                    one.name, self.run, image=self.image, node=one.node, nonce=nonce, token=self.token,
                    control=CONTROL_PORT, labels=one.labels, echo=one.echo, on_host=one.on_host,
                )
                group.create_task(self.kube.create(made, namespace))
        pods = await self.ready_pods(namespace, [one.name for one in wanted])
        return list(await asyncio.gather(*[
            self._meet(namespace, one, nonce, pod)
            for one, nonce, pod in zip(wanted, nonces, pods, strict=True)
        ]))

    async def _meet(self, namespace: str, one: Wanted, nonce: str, pod: Object) -> Backend:
        workload = self.cluster.pod(namespace, one.name, CONTROL_PORT)
        vantage = Vantage(f"{one.name} on {one.node}", workload, self.token, self.now)
        await vantage.hello()
        ips = tuple(str(each["ip"]) for each in pod["status"]["podIPs"])
        return Backend(one.name, nonce, one.node, ips, vantage)

    async def _configure(self, namespace: str) -> None:
        """Put the agent's program into ``namespace`` once, however many ask."""
        if namespace not in self._configured:
            made = objects.config_map(AGENT_CONFIG, self.run, {AGENT_FILE: _program()})
            self._configured[namespace] = asyncio.create_task(self.kube.create(made, namespace))
        await self._configured[namespace]

    async def ready_pods(self, namespace: str, names: Sequence[str]) -> list[Object]:
        """The named pods once all are ready. Raises KubeError at once when one cannot start, or after
        patience.
        """

        def found(known: Objects) -> list[Object] | None:
            pods = [known.get((namespace, name)) for name in names]
            for pod in pods:
                raise_if_stuck(pod)
            return [pod for pod in pods if pod] if all(pod and is_ready(pod) for pod in pods) else None

        what = f"pods {', '.join(names)} in {namespace} ready"
        return await self.pods.until(found, self.timing.pods.seconds, what)

    async def close(self, *, leave: bool) -> None:
        """End the watches and remove what the run made; with ``leave`` the cluster is about to be gone
        anyway.
        """
        if self._beating is not None:
            self._beating.cancel()
        for shared in self._shared.values():
            shared.cancel()  # what still runs mends what it broke
        await asyncio.gather(*self._shared.values(), return_exceptions=True)
        self.pods.close()
        self.slices.close()
        if self.balanced is not None:
            self.balanced.close()
        if not leave:
            await self._remove()
        self.kube.close()

    async def _remove(self) -> None:
        with suppress(KubeError):  # an API server that is away keeps them; the next run says so
            await leftovers.release(self.kube, self.namespace)
            found = await leftovers.made(self.kube, f"{RUN_LABEL}={self.run}")
            paths = [(one.kind, one.api_version, one.namespace, one.name) for one in found]
            await asyncio.gather(*[self.kube.delete(*path) for path in paths], return_exceptions=True)


def _of_both(addresses: Sequence[str]) -> bool:
    return len({objects.family_of(one) for one in addresses}) == 2


async def _has_witness(cluster: CanSnapshot) -> bool:
    """True when programs can be run on the router of the nodes' network."""
    try:
        status, _, _ = await cluster.run_on(WITNESS, ["true"], timeout=10)
    except ClusterError:
        return False
    return status == 0


def is_ready(pod: Object) -> bool:
    """True when the pod's Ready condition is."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def raise_if_stuck(pod: Object | None) -> None:
    """Raise KubeError with the cluster's own words when the pod's image cannot be had or its program ended.
    """
    for status in (pod or {}).get("status", {}).get("containerStatuses") or ():
        waiting = status.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _STUCK:
            assert pod is not None
            raise KubeError(
                f"pod {pod['metadata']['name']}: {waiting['reason']}: {waiting.get('message', '')}; "
                "choose an image that this cluster has or can pull (--agent-image, --nextcloud-image)"
            )


def _nonce() -> str:
    return secrets.token_hex(4)


def _program() -> str:
    return Path(agent.__file__).read_text(encoding="utf-8")
