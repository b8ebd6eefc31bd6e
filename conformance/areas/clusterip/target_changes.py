"""CLUSTERIP-12: selector and targetPort are changed in place."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement


@requirement(
    "CLUSTERIP-12", Level.CORE,
    source="kubernetes.io/docs/concepts/services-networking/service: selector and targetPort say who is "
    "meant; kubernetes PR #110918 notes that nothing tests their change",
)
async def target_changes(lab: Lab) -> None:
    """Traffic MUST move when selector or targetPort change, and the old target get nothing more."""
    first = await lab.backends(1, name="first")
    second = await lab.backends(1, name="second", nodes=lab.nodes[-1:])
    served = await lab.service([port(80)], first)
    attempt = lab.timing.attempt.seconds
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=100, timeout=attempt))
    if not await lab.serves("first", aims, Answered(by=first.nonces), "the first pod answers"):
        return
    await lab.update(served, selector=dict(second.selector))
    says, right = "the newly selected pod answers, and nobody else", Answered(by=second.nonces)
    if not await lab.serves("after the selector changed", aims, right, says):
        return
    await second.pods[0].vantage.listen(add=("tcp:8081",), remove=("tcp:80",))
    await lab.update(served, ports=[port(80, 8081)])
    says = "the new targetPort answers, and no connection goes to the old one, which is closed"
    await lab.serves("after the targetPort changed", aims, right, says)
