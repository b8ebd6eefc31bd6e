"""LB-01: a Service of type LoadBalancer gets an address that answers."""

from __future__ import annotations

from conformance.balanced import balanced
from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "LB-01", Level.EXT, needs={"outside"}, features={Feature.LOAD_BALANCER},
    source="kubernetes.io/docs/concepts/services-networking/service#loadbalancer; e2e loadbalancer.go, "
    "'be able to change the type and ports of a TCP service'",
)
async def address_answers(lab: Lab) -> None:
    """An address of the pool MUST come for type LoadBalancer, and answer outside clients on every try."""
    backends = await lab.backends(2)
    served, address = await balanced(lab, backends, any_pool=False)
    if not address:
        return
    probe = Probe("tcp", (address, served.port), count=100, timeout=lab.timing.attempt.seconds)
    says = "a selected pod answers an outside client at the load balancer's address"
    await lab.serves("address", [Aim(lab.outside, probe)], Answered(by=backends.nonces), says)
