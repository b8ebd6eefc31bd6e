"""NODEPORT-02: the port is there on every node."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Kind, Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

PROTOCOLS: tuple[Kind, ...] = ("tcp", "udp")


@requirement(
    "NODEPORT-02", Level.CORE, needs={"two-nodes", "outside"},
    source="kubernetes.io/docs/concepts/services-networking/service#type-nodeport, each node proxies it",
)
async def every_node(lab: Lab) -> None:
    """The NodePort MUST answer outside clients on each node, with an endpoint or not, over TCP and UDP."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    ports = [port(80, protocol=word.upper(), name=word) for word in PROTOCOLS]
    served = await lab.service(ports, backends, type="NodePort")
    aims = []
    for node in lab.nodes:
        for word in PROTOCOLS:
            target = (node.addresses[0], served.node_port(word.upper()))
            aims.append(Aim(lab.outside, Probe(word, target, count=100, timeout=lab.timing.attempt.seconds)))
    says = "the pod answers an outside client at the NodePort of every node"
    await lab.serves("NodePort", aims, Answered(by=backends.nonces), says)
