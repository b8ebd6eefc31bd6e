"""EXTERNALIP-01, EXTERNALIP-04: an address that no node has, while the Service lists it."""

from __future__ import annotations

from conformance.expectations import Answered, Unanswered
from conformance.features import Feature
from conformance.lab import Lab, Served, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement

ADDRESS, OTHER = "203.0.113.250", "203.0.113.251"
SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


async def reached(lab: Lab, address: str) -> Served | None:
    """A Service with this external address, answering at it; None where it does not."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], backends, externalIPs=[address])
    aims = each(lab.clients, Probe("tcp", (address, 80), count=100, timeout=lab.timing.attempt.seconds))
    says = "a pod answers at the external address"
    return served if await lab.serves("external address", aims, Answered(by=backends.nonces), says) else None


@requirement(
    "EXTERNALIP-01", Level.CORE, features={Feature.EXTERNAL_IPS},
    source="e2e service.go, 'should be possible to connect to a service via ExternalIP when the external IP "
    "is not assigned to a node'",
)
async def inside(lab: Lab) -> None:
    """Pods on every node MUST reach a Service at an external address that no node has."""
    await reached(lab, ADDRESS)


@requirement(
    "EXTERNALIP-04", Level.CORE, features={Feature.EXTERNAL_IPS},
    source="kubernetes.io/docs/concepts/services-networking/service#external-ips; no suite removes one",
)
async def removed(lab: Lab) -> None:
    """An external address that is removed from a Service MUST not answer any more, on any node."""
    served = await reached(lab, OTHER)
    if served is None:
        return
    await lab.update(served, externalIPs=[])
    quick = Probe("tcp", (OTHER, 80), count=50, concurrency=50, timeout=SILENCE)
    says = "nobody answers at the removed address"
    await lab.serves("removed", each(lab.clients, quick), Unanswered(), says)
