"""CLUSTERIP-20: a Service is deleted and made again under its name."""

from __future__ import annotations

from conformance.expectations import Answered, Unanswered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.ranges import free_address
from conformance.requirements import Level, requirement

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


@requirement(
    "CLUSTERIP-20", Level.CORE,
    source="e2e service.go, 'should work after the service has been recreated', which never asks at the old "
    "address",
)
async def recreated(lab: Lab) -> None:
    """A Service made again under its name MUST answer at its new address, and nobody at the old one."""
    backends, old = await lab.backends(2), await free_address(lab)  # nobody else is given that one by chance
    served = await lab.service([port(80)], backends, clusterIP=old)
    right, attempt = Answered(by=backends.nonces), lab.timing.attempt.seconds
    before = each(lab.clients, Probe("tcp", (old, 80), count=20, timeout=attempt))
    if not await lab.serves("before", before, right, "a pod answers at the first address"):
        return
    await lab.remove(served)
    again = await lab.service([port(80)], backends)
    after = each(lab.clients, Probe("tcp", (again.ip, 80), count=100, timeout=attempt))
    if not await lab.serves("new address", after, right, "a pod answers at the new address"):
        return
    dead = each(lab.clients, Probe("tcp", (old, 80), count=50, concurrency=50, timeout=SILENCE))
    await lab.serves("old address", dead, Unanswered(), "nobody answers at the old address")
