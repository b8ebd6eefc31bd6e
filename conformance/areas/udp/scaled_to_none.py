"""UDP-07: nobody for a while, then somebody else."""

from __future__ import annotations

from conformance.expectations import Answered, nobody
from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import port
from conformance.pinned import begun, flow, moved, two
from conformance.requirements import Level, requirement


@requirement(
    "UDP-07", Level.CORE,
    source="kubernetes #139628, #139629: a Service scaled to 0 and back left a client with its port in a "
    "black hole for hours; no suite looks",
)
async def scaled_to_none(lab: Lab) -> None:
    """A flow MUST be refused once its Service has no endpoint, and reach the next one that comes."""
    first, second = await two(lab)
    served = await lab.service([port(80, protocol="UDP")], first)
    aims = [flow(lab, client, (served.ip, 80)) for client in lab.clients]
    if not await begun(lab, aims, Answered(by=first.nonces), "the only pod answers"):
        return
    await lab.update(served, selector={"app": "nobody"})
    await lab.endpoints(served, ())
    refused, says = nobody(lab.declaration.conduct(Feature.NO_ENDPOINTS)), "without endpoints it is refused"
    if not await lab.serves("nobody", aims, refused, says, within=lab.timing.refuses):
        return
    await moved(lab, served, second)
    says = "the same flow reaches the pod that came"
    await lab.serves("after", aims, Answered(by=second.nonces), says, within=lab.timing.joins)
