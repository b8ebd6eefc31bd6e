"""UDP-08: the Service is deleted, its address given to another."""

from __future__ import annotations

from conformance.expectations import Answered, Unanswered
from conformance.lab import Lab
from conformance.objects import port
from conformance.pinned import begun, flow, silent, two
from conformance.requirements import Level, requirement


@requirement(
    "UDP-08", Level.CORE,
    source="kubernetes PR #141371: flows of a deleted Service went on to its old pod, also after the "
    "address belonged to somebody else; no suite looks",
)
async def deleted(lab: Lab) -> None:
    """A flow MUST end with its Service, and reach another Service's pod once that has the address."""
    first, second = await two(lab)
    ports = [port(80, protocol="UDP")]
    served = await lab.service(ports, first)
    aims = [flow(lab, client, (served.ip, 80)) for client in lab.clients]
    if not await begun(lab, aims, Answered(by=first.nonces), "the only pod answers"):
        return
    await lab.remove(served)
    says = "nobody answers for a Service that is gone"
    quick = [silent(aim) for aim in aims]
    if not await lab.serves("deleted", quick, Unanswered(), says, within=lab.timing.refuses):
        return
    heir = await lab.service(ports, second, name="heir", clusterIP=served.ip)
    says = f"the same flow reaches the pod of Service {heir.name}, which has the address now"
    await lab.serves("after", aims, Answered(by=second.nonces), says, within=lab.timing.joins)
