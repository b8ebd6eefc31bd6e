"""A node is lost: by its power, its cable or a pause. Measured once a run for each kind, for several rows.

One Service of hand-made endpoints, so that its backends are on the surviving nodes from before the fault:
what is measured is the way to them, and never how soon Kubernetes notices that a pod is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from clusters.base import Node
from conformance import measuring, objects
from conformance.balanced import ECHO_PORT, address_of, own_port, pool_of
from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Backends, Lab, Served
from conformance.measuring import Measured, around, sole_announcer, tcp, udp
from conformance.rig import is_ready
from conformance.timing import Aim, settles
from conformance.vantage import VantageGone

BALANCED_UDP, BALANCED_TCP = "datagrams at the load balancer", "connections at the load balancer"
LOST_NODE, OTHER_NODE = "datagrams at the lost node's NodePort", "datagrams at another node's NodePort"
NODE_PORT_INTERVAL = 0.02  # seconds; what must be nothing, or until the power is back, needs no finer one
CALM = 0.3  # seconds before the heal in its own window
BACK = {"power loss": 2.0, "cable pulled": 1.0, "pause": 1.0}  # seconds of that window after it
ALONE = 1.5  # seconds a node is away where no load balancer could take over
PATIENT = 3  # times the bound, when it is paused: those who know its MAC lose nothing meanwhile
LOOK = 0.5  # seconds between lists of all pods: each is work for the API server, beside what shall start
DEFAULT_BOUND = "10"  # MetalLB: above 10 s is a bug

Act = Callable[[], Awaitable[float]]


class Kind(StrEnum):
    """How a node is lost."""

    POWER = "power loss"
    CABLE = "cable pulled"
    PAUSE = "pause"  # its processes stand still; its kernel forwards, and no ARP of theirs is answered


@dataclass(frozen=True)
class Ground:
    """The Service that is measured; the address is empty without a load balancer."""

    served: Served
    backends: Backends
    address: str


@dataclass(frozen=True)
class Failover:
    """One node lost and back again; ``node`` is empty when no single node announced the address."""

    kind: Kind
    node: str
    surviving: frozenset[str]  # nonces of the backends
    fault: Measured | None = None
    heal: Measured | None = None


def bound(lab: Lab) -> float:
    """The longest outage that the implementation declares, seconds."""
    return float(lab.declaration.conduct(Feature.FAILOVER_SECONDS) or DEFAULT_BOUND)


async def ground(lab: Lab) -> Ground:
    """The Service, one for the run. Raises KubeError."""
    return await lab.rig.once("failover: ground", lambda: _ground(lab))


async def _ground(lab: Lab) -> Ground:
    backends = await lab.backends(len(lab.nodes), name="survivor")
    own = own_port(lab, "lost-and-found")
    wanted = [objects.port(own, ECHO_PORT, protocol=word.upper(), name=word) for word in ("tcp", "udp")]
    has = lab.declaration.supports(Feature.LOAD_BALANCER)
    if has:
        await pool_of(lab)
    served = await lab.service(wanted, name="lost-and-found", type="LoadBalancer" if has else "NodePort")
    ports = [{"name": one["name"], "port": ECHO_PORT, "protocol": one["protocol"]} for one in wanted]
    addresses = [pod.ip for pod in backends.pods]
    made = objects.endpoint_slice(served.name, lab.rig.run, served.name, addresses, ports)
    await lab.kube.create(made, served.namespace)
    address = await address_of(lab, served, lab.timing.balanced) if has else ""
    return Ground(served, backends, address)


async def serve_without(lab: Lab, found: Ground, node: str) -> frozenset[str]:
    """Have only the backends on other nodes serve; gives their nonces. Raises KubeError."""
    pods = [pod for pod in found.backends.pods if pod.node != node]
    served = found.served
    made = await lab.kube.get("EndpointSlice", "discovery.k8s.io/v1", served.namespace, served.name)
    stored = [await lab.kube.get("Pod", "v1", served.namespace, pod.name) for pod in pods]
    made["endpoints"] = [
        {"addresses": [pod["status"]["podIP"]], "conditions": {"ready": True}} for pod in stored
    ]
    await lab.kube.replace(made)
    return frozenset(pod.nonce for pod in pods)


async def lose(lab: Lab, kind: Kind) -> Failover:
    """The node that announces, or the last one, is lost and comes back; measured once a run for each kind."""
    return await lab.rig.once(f"failover: {kind}", lambda: measure(lab, kind))


async def measure(lab: Lab, kind: Kind) -> Failover:
    """One more measurement of its own."""
    found = await ground(lab)
    node = lab.workers[-1].name  # the API server shall live
    if lab.declaration.supports(Feature.LOAD_BALANCER_L2):
        node, _ = await sole_announcer(lab, found.address) if found.address else ("", "")
    if not node:
        return Failover(kind, "", frozenset())
    surviving = await serve_without(lab, found, node)
    aims = aims_of(lab, found, node)
    sending = [aim.sending(50) for aim in aims.values()]
    says = "the surviving backends answer before the fault"
    if not await settles(lab, f"before: {kind}", sending, Answered(by=surviving), lab.timing.serves, says):
        return Failover(kind, "", surviving)
    times = PATIENT if kind is Kind.PAUSE else 2
    after = times * bound(lab) + 0.3 if found.address else ALONE  # nothing moves where nobody balances
    about, (act, mend) = found.address, _fault(lab, kind, node)
    try:
        fault = await around(lab, aims, act, after=after, about=about)
        heal = await around(lab, aims, mend, after=BACK[kind], control=CALM, about=about)
    except BaseException:
        await mend()  # nothing after this may meet a broken cluster
        raise
    await clients_back(lab, node)
    await daemons_back(lab, node)
    return Failover(kind, node, surviving, fault, heal)


def aims_of(lab: Lab, found: Ground, node: str) -> dict[str, Aim]:
    """What is probed from outside while ``node`` is lost."""
    lost = next(one for one in lab.nodes if one.name == node)
    other = next(one for one in lab.nodes if one.name != node)
    number = found.served.node_port("UDP")

    def at(one: Node) -> Aim:
        return Aim(lab.outside, replace(udp((one.addresses[0], number)), interval=NODE_PORT_INTERVAL))

    aims = {LOST_NODE: at(lost), OTHER_NODE: at(other)}
    if found.address:
        aims[BALANCED_UDP] = Aim(lab.outside, udp((found.address, found.served.port)))
        aims[BALANCED_TCP] = Aim(lab.outside, tcp((found.address, found.served.port)))
    return aims


def _fault(lab: Lab, kind: Kind, node: str) -> tuple[Act, Act]:
    """What takes the node away, and what brings it back."""
    cluster: Any = lab.rig.cluster  # with the powers that the requirements need
    acts: dict[Kind, tuple[Act, Act]] = {
        Kind.POWER: (lambda: cluster.kill_node(node), lambda: cluster.revive_node(node)),
        Kind.CABLE: (lambda: cluster.cut_link(node, silently=False), lambda: cluster.heal_link(node)),
        Kind.PAUSE: (lambda: cluster.pause_node(node), lambda: cluster.resume_node(node)),
    }
    return acts[kind]


async def clients_back(lab: Lab, node: str) -> None:
    """Wait until the suite's own pods on ``node`` answer again; their clocks began anew.

    Raises VantageGone when one does not within patience.
    """
    clients = [client for client, one in zip(lab.clients, lab.nodes, strict=True) if one.name == node]
    since = lab.now()
    for client in clients:
        while True:
            try:
                await client.hello()
                break
            except VantageGone:
                if lab.now() - since > lab.timing.pods.seconds:
                    raise
                await asyncio.sleep(measuring.ASK_INTERVAL)


async def daemons_back(lab: Lab, node: str) -> None:
    """Wait until what a DaemonSet has on ``node`` is ready again: it may be who takes over at the next fault.

    One that is not within patience is told in a step, and nothing more is done about it.
    """
    since = lab.now()
    while missing := unready(await lab.kube.list("Pod", "v1", ""), node):
        if lab.now() - since > lab.timing.pods.seconds:
            lab.step(f"{node} is back, without {', '.join(missing)}")
            return
        await asyncio.sleep(LOOK)


def unready(pods: Sequence[objects.Object], node: str) -> list[str]:
    """The pods of DaemonSets on ``node`` that are not ready."""
    return [
        pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node and not is_ready(pod)
        and any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or ())
    ]


def found_node(lab: Lab, lost: Failover) -> bool:
    """True when it was known which node to take away; else the requirement is unknown, another is red."""
    if lost.fault is None:
        lab.evidence.unknown(lab.id, (
            f"{lost.kind}: not exactly one node answered for the address by ARP with backends that serve, so "
            "there was no node to take away"))
        return False
    lab.value(f"node of the {lost.kind}", lost.node)
    return True
