"""BALANCE-07: a connection stays where it is."""

from __future__ import annotations

import asyncio

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import origin

EXCHANGES, INTERVAL = 1000, 0.003  # on one connection; seconds between them


@requirement(
    "BALANCE-07", Level.CORE,
    source="kubernetes.io/docs/reference/networking/virtual-ips: a backend is chosen for a connection; no "
    "suite looks at one for longer than a request",
)
async def one_connection(lab: Lab) -> None:
    """One TCP connection MUST keep its backend over 1,000 exchanges in 3 s, from every node."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], backends)
    attempt = lab.timing.attempt.seconds
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=20, timeout=attempt))
    if not await lab.serves("before", aims, Answered(by=backends.nonces), "a pod answers at the clusterIP"):
        return
    held = Probe("held", (served.ip, 80), count=EXCHANGES, concurrency=1, interval=INTERVAL, timeout=attempt)
    kept = each(lab.clients, held)
    await asyncio.gather(*[lab.probe(origin(aim), aim.vantage, aim.probe) for aim in kept])
    for aim in kept:
        says = "every exchange on one connection is answered by the same pod"
        lab.expect("single", origin(aim), {"backends": sorted(backends.nonces)}, says)
