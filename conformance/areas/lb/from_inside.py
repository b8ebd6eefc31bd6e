"""LB-02: the address works from inside the cluster, too."""

from __future__ import annotations

from conformance.balanced import balanced
from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.probes import Probe
from conformance.requirements import Level, requirement


@requirement(
    "LB-02", Level.EXT, needs={"two-nodes"}, features={Feature.LOAD_BALANCER},
    source="e2e loadbalancer.go, 'should work from pods'; e2e service.go, 'internal traffic' "
    "on type LoadBalancer",
)
async def from_inside(lab: Lab) -> None:
    """The load balancer's address MUST answer pods and nodes, on each node, with an endpoint or not."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served, address = await balanced(lab, backends)
    if not address:
        return
    on_nodes = [agent.vantage for agent in await lab.rig.node_agents()]
    probe = Probe("tcp", (address, served.port), count=50, timeout=lab.timing.attempt.seconds)
    says = "the pod answers pods and nodes at the load balancer's address"
    aims = each([*lab.clients, *on_nodes], probe)
    await lab.serves("address", aims, Answered(by=backends.nonces), says)
