"""UDP-05: a flow that began too early."""

from __future__ import annotations

import asyncio

from conformance.expectations import Answered, nobody
from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import port
from conformance.pinned import flow
from conformance.requirements import Level, requirement


@requirement(
    "UDP-05", Level.CORE,
    source="e2e conntrack.go, 'should be able to preserve UDP traffic when initial unready endpoints get "
    "ready'; kubernetes #105657",
)
async def becomes_ready(lab: Lab) -> None:
    """A flow that began while the only pod was unready MUST reach it once it is ready."""
    backends = await lab.backends(1)
    told = await lab.service([port(81, protocol="UDP")], backends, name="told")
    await asyncio.gather(*[pod.vantage.ready(False) for pod in backends.pods])
    await lab.endpoints(told, ())  # else the Service to be judged might see the pod as ready first
    served = await lab.service([port(80, protocol="UDP")], selector=backends.selector)
    await lab.endpoints(served, ())
    aims = [flow(lab, client, (served.ip, 80)) for client in lab.clients]
    refused, says = nobody(lab.declaration.conduct(Feature.NO_ENDPOINTS)), "with an unready pod it is refused"
    if not await lab.serves("too early", aims, refused, says, within=lab.timing.refuses):
        return
    await asyncio.gather(*[pod.vantage.ready(True) for pod in backends.pods])
    await lab.endpoints(served, {pod.ip for pod in backends.pods})
    says = "the same flow reaches the pod that is ready now"
    await lab.serves("ready", aims, Answered(by=backends.nonces), says, within=lab.timing.joins)
