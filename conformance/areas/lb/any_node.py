"""LB-25: whichever node the packets reach."""

from __future__ import annotations

from conformance.balanced import balanced, route_through
from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "LB-25", Level.EXT, needs={"two-nodes", "outside", "snapshot"}, features={Feature.LOAD_BALANCER},
    source="kubernetes.io/docs/reference/networking/virtual-ips: every node's proxy serves a load balancer's "
    "address; with externalTrafficPolicy Cluster the announcing node is only a way in",
)
async def any_node(lab: Lab) -> None:
    """Traffic for the address MUST be served by each node that it reaches, announcing or not."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served, address = await balanced(lab, backends)
    if not address:
        return
    probe = Probe("tcp", (address, served.port), count=100, timeout=lab.timing.attempt.seconds)
    for node in lab.nodes:
        says = f"the pod answers what reaches {node.name} for the load balancer's address"
        async with route_through(lab, address, node):
            aims = [Aim(lab.outside, probe)]
            await lab.serves(f"through {node.name}", aims, Answered(by=backends.nonces), says)
