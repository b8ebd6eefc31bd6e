"""BALANCE-01: nobody is left out, and nobody else answers."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import origin

BACKENDS = 4
COUNT = 100  # one of four is missed by chance in 53 attempts with 1e-6, in 100 with 1e-12


@requirement(
    "BALANCE-01", Level.CORE, needs={"two-nodes"},
    source="e2e networking.go, 'should function for pod-Service', which stops at the first success; e2e "
    "service.go, 'should be able to up and down services', which does not see strangers",
)
async def every_backend(lab: Lab) -> None:
    """Every one of four backends MUST be hit from each node, and no pod of another Service ever answer."""
    backends = await lab.backends(BACKENDS)
    other = await lab.backends(1, name="other")
    await lab.service([port(80)], other, name="other")
    served = await lab.service([port(80)], backends)
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=COUNT, timeout=lab.timing.attempt.seconds))
    if not await lab.serves("connections", aims, Answered(by=backends.nonces), "a selected pod answers"):
        return
    for aim in aims:
        await lab.probe(origin(aim), aim.vantage, aim.probe)
        lab.expect("covers", origin(aim), {"backends": sorted(backends.nonces)}, "every backend answers")
