"""What a requirement's body works with: backends, Services, vantages, and the pen for its own evidence.

A body makes objects, sends probes and writes what must be seen; it never waits, tries again or judges.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from clusters.base import CanSnapshot, Node
from conformance import objects, post, timing
from conformance.evidence import Evidence, Outcome
from conformance.expectations import Expectation
from conformance.features import Declaration
from conformance.kube import Answer, Kube, KubeError, Objects, path_of
from conformance.objects import Object
from conformance.post import Post
from conformance.probes import Attempts, Probe
from conformance.rig import Backend, Rig, Wanted
from conformance.timing import Aim, Duration, Timing
from conformance.vantage import Vantage

ECHO = ("tcp:80", "udp:80")
_REFUSED = Outcome(kind="refused")


@dataclass(frozen=True)
class Backends:
    """Agent pods behind one selector."""

    pods: tuple[Backend, ...]
    selector: Mapping[str, str]

    @property
    def nonces(self) -> frozenset[str]:
        """By which their answers are known."""
        return frozenset(pod.nonce for pod in self.pods)

    def addresses(self, families: Iterable[str]) -> set[str]:
        """Their addresses of these families, which slices list."""
        wanted = set(families)
        return {ip for pod in self.pods for ip in pod.ips if objects.family_of(ip) in wanted}


@dataclass(frozen=True)
class Served:
    """A Service as the API server stored it."""

    namespace: str
    name: str
    ips: tuple[str, ...]  # one a family, in its own order; "None" of a headless one, none of an ExternalName
    families: tuple[str, ...]
    ports: tuple[Object, ...]

    @classmethod
    def of(cls, made: Object) -> Served:
        """Read it from the object."""
        meta, spec = made["metadata"], made["spec"]
        return cls(meta["namespace"], meta["name"], tuple(spec.get("clusterIPs") or ()),
                   tuple(spec.get("ipFamilies") or ()), tuple(spec.get("ports") or ()))

    @property
    def ip(self) -> str:
        """The clusterIP of its first family; empty of an ExternalName."""
        return self.ips[0] if self.ips else ""

    @property
    def port(self) -> int:
        """The number of its first port."""
        return int(self.ports[0]["port"])

    def node_port(self, protocol: str = "TCP") -> int:
        """The NodePort of its first port with ``protocol``; raises LookupError when it has none."""
        for one in self.ports:
            if one.get("protocol", "TCP") == protocol and one.get("nodePort"):
                return int(one["nodePort"])
        raise LookupError(f"Service {self.name} has no {protocol} NodePort")


class Lab:
    """One requirement's view of the run."""

    def __init__(self, id: str, rig: Rig, evidence: Evidence) -> None:
        self.id, self.rig, self.evidence = id, rig, evidence
        self._namespace: asyncio.Task[str] | None = None

    @property
    def kube(self) -> Kube:
        """The API server."""
        return self.rig.kube

    @property
    def timing(self) -> Timing:
        """Every duration."""
        return self.rig.timing

    @property
    def nodes(self) -> list[Node]:
        """The nodes, in the cluster's order."""
        return self.rig.nodes

    @property
    def workers(self) -> list[Node]:
        """The nodes without a control plane, from which kubeadm keeps load balancers away; else all."""
        return [node for node in self.nodes if not node.control_plane] or self.nodes

    @property
    def clients(self) -> list[Vantage]:
        """One pod on each node, in the nodes' order; they are never backends."""
        return self.rig.clients

    @property
    def outside(self) -> Vantage:
        """A host outside the cluster, on the nodes' network; the requirement needs "outside"."""
        if self.rig.outside is None:
            raise LookupError(f"{self.id} uses the place outside without needs={{'outside'}}")
        return self.rig.outside

    @property
    def declaration(self) -> Declaration:
        """What the implementation declares of itself."""
        return self.rig.declaration

    # ------------------------------------------------------------ objects

    async def namespace(self) -> str:
        """This requirement's own namespace, made when first asked for."""
        if self._namespace is None:
            self._namespace = asyncio.create_task(self._make_namespace())
        return await self._namespace

    async def _make_namespace(self) -> str:
        name = f"conf-{self.rig.run}-{self.id.lower()}"
        await self.rig.make_namespace(name)
        return name

    async def backends(
        self, count: int, *, nodes: Sequence[Node] | None = None, echo: tuple[str, ...] = ECHO,
        name: str = "backend", namespace: str = "",
    ) -> Backends:
        """``count`` ready agent pods, one after another on ``nodes`` (all of them when not given)."""
        where = list(nodes or self.nodes)
        selector = {"app": f"{name}-{self.id.lower()}"}
        wanted = [
            Wanted(f"{name}-{self.id.lower()}-{number}", where[number % len(where)].name, selector, echo)
            for number in range(count)
        ]
        made = await self.rig.agents(namespace or await self.namespace(), wanted)
        told = ", ".join(f"{one.nonce} = {' and '.join(one.ips)} on {one.node}" for one in made)
        self.step(f"{count} ready backends: {told}")
        return Backends(tuple(made), selector)

    async def service(
        self, ports: Sequence[Object], backends: Backends | None = None, *, name: str = "served",
        namespace: str = "", selector: Mapping[str, str] | None = None, **spec: Any,
    ) -> Served:
        """A Service as stored; with ``backends``, once its EndpointSlices list each of them as ready."""
        selected = backends.selector if backends else selector
        made = objects.service(name, self.rig.run, ports, selected, **spec)
        served = Served.of(await self.kube.create(made, namespace or await self.namespace()))
        if backends is not None:
            await self.endpoints(served, backends.addresses(served.families))
        where = f"{served.namespace}/{served.name}"
        ips = " and ".join(served.ips) or "none"
        self.step(f"Service {where}: clusterIP {ips}, {objects.in_words(served.ports)}")
        return served

    async def update(self, served: Served, **spec: Any) -> Served:
        """The Service with these fields of its spec replaced, as stored. Raises KubeError when refused."""
        made = await self.kube.get("Service", "v1", served.namespace, served.name)
        made["spec"].update(spec)
        stored = await self.kube.replace(made)
        self.step(f"Service {served.namespace}/{served.name}: {json.dumps(spec)}")
        return Served.of(stored)

    async def remove(self, served: Served) -> None:
        """Delete the Service. Raises KubeError when that is refused."""
        answer = await self.kube.delete("Service", "v1", served.namespace, served.name)
        if not answer.ok:
            raise KubeError(f"delete Service {served.namespace}/{served.name}: {answer.said()}")
        self.step(f"Service {served.namespace}/{served.name} deleted")

    async def endpoints(self, served: Served, addresses: Iterable[str]) -> None:
        """Wait until the API lists exactly ``addresses`` as ready endpoints of the Service."""
        wanted = set(addresses)

        def found(known: Objects) -> bool | None:
            return ready_addresses(known, served) == wanted or None

        listed = ", ".join(sorted(wanted)) or "nobody"
        what = f"EndpointSlices of {served.namespace}/{served.name} list {listed}"
        await self.rig.slices.until(found, self.timing.objects.seconds, what)

    async def attempt(self, name: str, made: Object, namespace: str = "") -> Answer:
        """Try to create ``made``; a refusal is recorded as the value ``name`` (code, reason, message)."""
        answer = await self.kube.attempt(made, namespace or await self.namespace())
        self.value(name, {"code": answer.code} if answer.ok else answer.refusal())
        return answer

    async def snapshot(self, node: str) -> dict[str, str]:
        """Rules and logs of a node; the requirement needs "snapshot"."""
        return await cast(CanSnapshot, self.rig.cluster).snapshot(node)

    async def pod_log(self, namespace: str, name: str) -> str:
        """A pod's whole log, as the API server gives it. Raises KubeError when it is refused."""
        return await self.kube.text(path_of("Pod", "v1", namespace, name, "log"))

    async def post(self) -> Post:
        """The blog post's Deployment and Services, one for the whole run; the requirement needs "seed"."""
        return await self.rig.once("seed", lambda: post.stand(self.rig))

    # ------------------------------------------------------------ probes and evidence

    async def probe(self, series: str, vantage: Vantage, probe: Probe) -> Attempts:
        """Send ``probe`` from ``vantage`` and record its outcomes as part of ``series``."""
        seen = await vantage.probe(probe)
        self.probed(series, Aim(vantage, probe), seen.outcomes)
        return seen

    async def serves(
        self, series: str, aims: Sequence[Aim], acceptable: Expectation, says: str,
        *, within: Duration | None = None,
    ) -> list[Outcome]:
        """The two halves of an always-property: settled from every vantage within the bound, then no
        violation.

        Gives the outcomes of the second half; none when it never settled, which is a failure already.
        Refusals are asked for no faster than the nodes send ICMP errors, and by one requirement at a time.
        Datagrams wait until streams have settled: the kernel keeps for a UDP flow what it decided before the
        rules stood.
        """
        pause, bound = self.rig.cluster.icmp_pause, within or self.timing.serves
        if not pause or not acceptable.accepts(_REFUSED):
            return await self._serves(series, aims, acceptable, says, bound)
        async with self.rig.refusing:
            return await self._serves(series, timing.rationed(aims, pause), acceptable, says, bound)

    async def _serves(
        self, series: str, aims: Sequence[Aim], acceptable: Expectation, says: str, bound: Duration,
    ) -> list[Outcome]:
        since, streams = self.now(), [aim for aim in aims if not aim.datagrams]
        parts = {"settling": aims}
        if 0 < len(streams) < len(aims):
            parts = {"streams settling": streams, **parts}
        for part, those in parts.items():
            if not await timing.settles(self, f"{series}: {part}", those, acceptable, bound,
                                        f"{says}, within {bound.seconds:g} s", since=since):
                return []
        return await timing.holds(self, series, aims, acceptable, f"{says}, on every try")

    def now(self) -> float:
        """Seconds since the run began."""
        return self.evidence.now()

    def probed(self, series: str, aim: Aim, outcomes: Sequence[Outcome]) -> None:
        """Record outcomes as part of ``series``."""
        host, port = aim.probe.target
        self.evidence.probes(
            self.id, series=series, origin=aim.vantage.name, target=f"{host}:{port}",
            protocol=aim.probe.transport, outcomes=outcomes,
        )

    def expect(self, kind: str, series: str, params: Mapping[str, Any], says: str) -> None:
        """Record what must be seen in ``series``; kinds and parameters are those of ``verdict.py``."""
        self.evidence.expect(self.id, kind, series=series, params=dict(params), says=says)

    def expect_value(self, kind: str, name: str, params: Mapping[str, Any], says: str) -> None:
        """Record what the value ``name`` must be: kinds equals, one_of, includes and matches."""
        self.evidence.expect(self.id, kind, name=name, params=dict(params), says=says)

    def step(self, text: str) -> None:
        """Record what is done now."""
        self.evidence.step(self.id, text)

    def value(self, name: str, value: Any) -> None:
        """Record something seen that is no attempt; any JSON."""
        self.evidence.value(self.id, name, value)


def ready_addresses(known: Objects, served: Served) -> set[str]:
    """The addresses that the slices of a Service list as ready."""
    return {
        address
        for (namespace, _), found in known.items()
        if namespace == served.namespace
        and found["metadata"].get("labels", {}).get("kubernetes.io/service-name") == served.name
        for endpoint in found.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint["addresses"]
    }


def each(vantages: Iterable[Vantage], probe: Probe) -> list[Aim]:
    """``probe`` from every one of ``vantages``."""
    return [Aim(vantage, probe) for vantage in vantages]
