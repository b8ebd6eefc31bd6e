"""ITP-06: the internal policy is no business of NodePorts."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "ITP-06", Level.CORE, needs={"two-nodes", "outside"},
    source="KEP-2086: internalTrafficPolicy rules traffic to the cluster address only; no suite looks",
)
async def not_outside(lab: Lab) -> None:
    """With internalTrafficPolicy Local a NodePort MUST answer on every node, also for pods."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served = await lab.service([port(80)], backends, type="NodePort", internalTrafficPolicy="Local")
    attempt = lab.timing.attempt.seconds
    aims = [Aim(client, Probe("tcp", (node.addresses[0], served.node_port()), count=50, timeout=attempt))
            for client in (lab.outside, *lab.clients) for node in lab.nodes]
    says = "the pod answers at the NodePort of every node"
    await lab.serves("node ports", aims, Answered(by=backends.nonces), says)
