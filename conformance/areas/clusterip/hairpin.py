"""CLUSTERIP-04: the only endpoint calls its own Service."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Kind, Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

PROTOCOLS: tuple[Kind, ...] = ("tcp", "udp")


@requirement(
    "CLUSTERIP-04", Level.CORE,
    source="e2e service.go, 'should allow pods to hairpin back to themselves through services' (TCP only); "
    "e2e networking.go, 'should function for endpoint-Service'",
)
async def hairpin(lab: Lab) -> None:
    """The only endpoint of a Service MUST get itself at the clusterIP, over TCP and UDP, on every try."""
    backends = await lab.backends(1)
    ports = [port(80, protocol=word.upper(), name=word) for word in PROTOCOLS]
    served = await lab.service(ports, backends)
    attempt, itself = lab.timing.attempt.seconds, backends.pods[0].vantage
    aims = [Aim(itself, Probe(word, (served.ip, 80), count=100, timeout=attempt)) for word in PROTOCOLS]
    says = "the only endpoint reaches itself through its own Service"
    await lab.serves("hairpin", aims, Answered(by=backends.nonces), says)
