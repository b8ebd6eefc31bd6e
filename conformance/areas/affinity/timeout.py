"""AFFINITY-05: a client that was idle for longer than the timeout is anybody's again."""

from __future__ import annotations

import asyncio

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.statistics import ALPHA, cover_size
from conformance.timing import origin

TIMEOUT, IDLE = 1, 1.3  # seconds
COUNT = cover_size(2, ALPHA)  # with fewer, one of two backends may by chance get all


@requirement(
    "AFFINITY-05", Level.CORE,
    source="kubernetes.io/docs/reference/networking/virtual-ips#session-affinity, timeoutSeconds; e2e "
    "service.go, 'should have session affinity timeout work for service with type clusterIP', with 125 s",
)
async def timeout(lab: Lab) -> None:
    """A client idle for longer than timeoutSeconds MUST get any backend again, so both of two in time."""
    backends = await lab.backends(2)
    config = {"clientIP": {"timeoutSeconds": TIMEOUT}}
    served = await lab.service(
        [port(80)], backends, sessionAffinity="ClientIP", sessionAffinityConfig=config)
    attempt = lab.timing.attempt.seconds
    settling = each(lab.clients, Probe("tcp", (served.ip, 80), count=20, timeout=attempt))
    if not await lab.serves("before", settling, Answered(by=backends.nonces), "a selected pod answers"):
        return
    idle = each(lab.clients, Probe("tcp", (served.ip, 80), count=COUNT, interval=IDLE, timeout=attempt))
    await asyncio.gather(*[lab.probe(origin(aim), aim.vantage, aim.probe) for aim in idle])
    for aim in idle:
        says = "after each idle time the backend is chosen anew, so both are met"
        lab.expect("covers", origin(aim), {"backends": sorted(backends.nonces)}, says)
