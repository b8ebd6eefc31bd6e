"""CLUSTERIP-05: an endpoint calls its own Service and reaches the other one."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim, origin

COUNT = 100  # of two backends one is missed by chance in 100 attempts with 2e-30; 21 are enough for 1e-6


@requirement(
    "CLUSTERIP-05", Level.CORE, needs={"two-nodes"},
    source="e2e networking.go, 'should function for endpoint-Service: http' and 'udp'",
)
async def endpoint_to_other(lab: Lab) -> None:
    """An endpoint that calls its own Service MUST reach the endpoint on the other node, and itself, too."""
    backends = await lab.backends(2, nodes=lab.nodes[:2])
    ports = [port(80, protocol=word, name=word.lower()) for word in ("TCP", "UDP")]
    served = await lab.service(ports, backends)
    attempt = lab.timing.attempt.seconds
    probes = [Probe("tcp", (served.ip, 80), count=COUNT, timeout=attempt),
              Probe("udp", (served.ip, 80), count=COUNT, timeout=attempt)]
    aims = [Aim(pod.vantage, probe) for pod in backends.pods for probe in probes]
    says = "an endpoint is answered at its own Service"
    if not await lab.serves("from an endpoint", aims, Answered(by=backends.nonces), says):
        return
    for aim in aims:
        await lab.probe(origin(aim), aim.vantage, aim.probe)
        lab.expect("covers", origin(aim), {"backends": sorted(backends.nonces)}, "both endpoints are reached")
