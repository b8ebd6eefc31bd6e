"""AFFINITY-09: the backend that clients are stuck to is gone."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.pinned import moved
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.sticking import sticks


@requirement(
    "AFFINITY-09", Level.CORE,
    source="cilium ginkgo services.go deletes a pod and asks ten times; here all clients were stuck to it",
)
async def leaves(lab: Lab) -> None:
    """A client whose backend is gone MUST move to one of those there are, and stay with that one."""
    first, others = await lab.backends(1, name="first"), await lab.backends(2, name="others")
    served = await lab.service([port(80)], first, sessionAffinity="ClientIP")
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=60, timeout=lab.timing.attempt.seconds))
    if not await lab.serves("before", aims, Answered(by=first.nonces), "the only pod answers"):
        return
    await moved(lab, served, others)
    says = "clients of the pod that went are served by others"
    if not await lab.serves("after", aims, Answered(by=others.nonces), says, within=lab.timing.joins):
        return
    await sticks(lab, aims, others)
