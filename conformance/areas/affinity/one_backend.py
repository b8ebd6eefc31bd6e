"""AFFINITY-01: a client keeps its backend."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.sticking import sticks

COUNT = 60  # without affinity one of three answers them all with less than 1e-27


@requirement(
    "AFFINITY-01", Level.CORE,
    source="kubernetes.io/docs/reference/networking/virtual-ips#session-affinity; e2e service.go, 'should "
    "have session affinity work for service with type clusterIP', which asks for 15 in a row within 2 min",
)
async def one_backend(lab: Lab) -> None:
    """With ClientIP all 60 connections of a pod MUST reach one of three backends, the same every time."""
    backends = await lab.backends(3)
    served = await lab.service([port(80)], backends, sessionAffinity="ClientIP")
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=COUNT, timeout=lab.timing.attempt.seconds))
    if not await lab.serves("before", aims, Answered(by=backends.nonces), "a selected pod answers"):
        return
    await sticks(lab, aims, backends)
