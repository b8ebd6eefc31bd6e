"""NODEPORT-03: a node calls its own NodePort, and that of the others."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Kind, Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

PROTOCOLS: tuple[Kind, ...] = ("tcp", "udp")


@requirement(
    "NODEPORT-03", Level.CORE, needs={"two-nodes"},
    source="e2e networking.go, 'should function for node-Service'; cilium connectivity test, "
    "pod-to-local-nodeport and pod-to-remote-nodeport",
)
async def from_nodes(lab: Lab) -> None:
    """A process on a node MUST reach its own NodePort and that of each other node, over TCP and UDP."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    ports = [port(80, protocol=word.upper(), name=word) for word in PROTOCOLS]
    served = await lab.service(ports, backends, type="NodePort")
    targets = [(word, (node.addresses[0], served.node_port(word.upper())))
               for node in lab.nodes for word in PROTOCOLS]
    # Every node asks every node at once: a few at a time each, as a burst of hundreds is another question.
    seconds = lab.timing.attempt.seconds
    aims = [Aim(agent.vantage, Probe(word, target, count=50, concurrency=8, timeout=seconds))
            for agent in await lab.rig.node_agents() for word, target in targets]
    says = "the pod answers a node at the NodePort of every node"
    await lab.serves("from nodes", aims, Answered(by=backends.nonces), says)
