"""CLUSTERIP-11: a port comes and goes."""

from __future__ import annotations

from conformance.expectations import Answered, beside
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.meanwhile import meanwhile
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


@requirement(
    "CLUSTERIP-11", Level.CORE,
    source="e2e service.go, 'should be updated after adding or deleting ports', which never looks whether "
    "the removed port is closed",
)
async def ports_change(lab: Lab) -> None:
    """A port that is added MUST answer, one that is removed be closed, and the third never notice."""
    backends = await lab.backends(2, echo=("tcp:80", "tcp:81"))
    stays, added = port(80, name="stays"), port(81, name="added")
    served = await lab.service([stays], backends)
    attempt, right = lab.timing.attempt.seconds, Answered(by=backends.nonces)
    first = each(lab.clients, Probe("tcp", (served.ip, 80), count=50, timeout=attempt))
    if not await lab.serves("the port that stays", first, right, "a pod answers at the first port"):
        return
    says = "the port that stays answers all the while"
    async with meanwhile(lab, "the port that stays, meanwhile", first, right, says):
        await lab.update(served, ports=[stays, added])
        more = each(lab.clients, Probe("tcp", (served.ip, 81), count=50, timeout=attempt))
        if not await lab.serves("the added port", more, right, "a pod answers at the added port"):
            return
        await lab.update(served, ports=[stays])
        closed = each(lab.clients, Probe("tcp", (served.ip, 81), count=50, concurrency=50, timeout=SILENCE))
        nothing = beside(lab.declaration.conduct(Feature.OTHER_PORT_ON_VIP))
        await lab.serves("the removed port", closed, nothing, "nobody answers at the removed port")
