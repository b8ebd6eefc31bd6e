"""ETP-02: with Local, the backend knows its client."""

from __future__ import annotations

from conformance.balanced import balanced
from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "ETP-02", Level.CORE, needs={"two-nodes", "outside"},
    features={Feature.LOAD_BALANCER, Feature.CLIENT_ADDRESS},
    source="e2e loadbalancer.go, 'should work for type=LoadBalancer' (ESIPP), which only asks that the "
    "address be no node's",
)
async def local_client_address(lab: Lab) -> None:
    """With policy Local a backend on any node MUST see its client's address through the load balancer's."""
    # On two nodes: where its only pod is, an address may be announced by chance.
    for number, node in enumerate(lab.workers[-2:]):
        backends = await lab.backends(1, nodes=[node], name=f"on-{number}")
        served, address = await balanced(lab, backends, name=f"on-{number}", externalTrafficPolicy="Local")
        if not address:
            return
        probe = Probe("tcp", (address, served.port), count=100, timeout=lab.timing.attempt.seconds)
        exactly = Answered(by=backends.nonces, source=frozenset(lab.outside.addresses))
        says = f"the pod on {node.name} answers and sees the client's own address"
        await lab.serves(f"policy Local, {node.name}", [Aim(lab.outside, probe)], exactly, says)
