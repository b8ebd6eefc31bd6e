"""ENDPOINTS-01: nobody there is said at once."""

from __future__ import annotations

from conformance.expectations import Answered, Refused
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement


@requirement(
    "ENDPOINTS-01", Level.CORE, disruptive=True,  # alone: refusals are rationed
    source="e2e service.go, 'be rejected when no endpoints exist'",
)
async def refused_without(lab: Lab) -> None:
    """TCP to a Service without endpoints MUST be refused, never time out, from a pod on every node."""
    backends = await lab.backends(1)
    served = await lab.service([port(80)], backends, name="answered")
    attempt = lab.timing.attempt.seconds
    says = "the pods that ask do reach a Service that has an endpoint"
    answered = each(lab.clients, Probe("tcp", (served.ip, 80), count=20, timeout=attempt))
    if not await lab.serves("with an endpoint", answered, Answered(by=backends.nonces), says):
        return
    empty = await lab.service([port(80)], selector={"app": "nobody"}, name="empty")
    refused = each(lab.clients, Probe("tcp", (empty.ip, 80), count=100, timeout=attempt))
    says = "a Service without endpoints refuses TCP at once, from a pod on every node"
    await lab.serves("without endpoints", refused, Refused(), says, within=lab.timing.refuses)
