"""ETP-01: with Cluster, any node is a way in."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "ETP-01", Level.CORE, needs={"two-nodes", "outside"},
    source="kubernetes.io/docs/concepts/services-networking/service#external-traffic-policy",
)
async def cluster_any_node(lab: Lab) -> None:
    """With policy Cluster each node MUST answer outside clients, with an endpoint there or not."""
    backends = await lab.backends(1, nodes=lab.nodes[-1:])
    served = await lab.service([port(80)], backends, type="NodePort", externalTrafficPolicy="Cluster")
    attempt = lab.timing.attempt.seconds
    aims = [
        Aim(lab.outside, Probe("tcp", (node.addresses[0], served.node_port()), count=100, timeout=attempt))
        for node in lab.nodes
    ]
    says = "the pod answers an outside client through every node"
    await lab.serves("policy Cluster", aims, Answered(by=backends.nonces), says)
