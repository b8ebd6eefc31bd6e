"""ENDPOINTS-03: pods that are there and not ready."""

from __future__ import annotations

import asyncio

from conformance.expectations import Answered, nobody
from conformance.features import Feature
from conformance.lab import Backends, Lab, Served, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement


async def become(lab: Lab, backends: Backends, served: Served, ready: bool) -> None:
    """Flip the readiness of every backend, and wait until the API says so."""
    await asyncio.gather(*[pod.vantage.ready(ready) for pod in backends.pods])
    await lab.endpoints(served, {pod.ip for pod in backends.pods} if ready else ())


@requirement(
    "ENDPOINTS-03", Level.CORE,
    source="kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle: a pod that is not ready is removed "
    "from the endpoints of all Services; no suite sends packets for it",
)
async def readiness(lab: Lab) -> None:
    """A Service whose pods are all unready MUST refuse, and serve again once they are ready."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], backends)
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=50, timeout=lab.timing.attempt.seconds))
    right = Answered(by=backends.nonces)
    if not await lab.serves("ready", aims, right, "a ready pod answers"):
        return
    await become(lab, backends, served, ready=False)
    refused = nobody(lab.declaration.conduct(Feature.NO_ENDPOINTS))
    says = "with pods that are all unready, connections are refused"
    if not await lab.serves("unready", aims, refused, says, within=lab.timing.refuses):
        return
    await become(lab, backends, served, ready=True)
    await lab.serves("ready again", aims, right, "a pod that is ready again answers")
