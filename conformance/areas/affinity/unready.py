"""AFFINITY-10: the backend that clients are stuck to is there, and not ready."""

from __future__ import annotations

import asyncio

from conformance.expectations import Answered, nobody
from conformance.features import Feature
from conformance.lab import Backends, Lab, Served, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement


async def only(lab: Lab, backends: Backends, served: Served, *ready: int) -> frozenset[str]:
    """Have just these pods ready, and wait until the API says so; gives their nonces."""
    await asyncio.gather(*[pod.vantage.ready(at in ready) for at, pod in enumerate(backends.pods)])
    await lab.endpoints(served, {backends.pods[at].ip for at in ready})
    return frozenset(backends.pods[at].nonce for at in ready)


@requirement(
    "AFFINITY-10", Level.CORE,
    source="kubernetes #110302, PR #106030: affinity pointed at endpoints that were not ready; no "
    "suite looks",
)
async def unready(lab: Lab) -> None:
    """A client MUST leave a backend that turns unready for one that is, and be refused where none is."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], backends, sessionAffinity="ClientIP")
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=50, timeout=lab.timing.attempt.seconds))
    for ready in (0, 1, 0):  # all are stuck to the one that was ready, and it turns
        right = Answered(by=await only(lab, backends, served, ready))
        name = f"{ready} after {1 - ready}"
        if not await lab.serves(name, aims, right, "the ready pod answers", within=lab.timing.joins):
            return
    await only(lab, backends, served)
    refused, says = nobody(lab.declaration.conduct(Feature.NO_ENDPOINTS)), "without a ready pod it is refused"
    await lab.serves("none", aims, refused, says, within=lab.timing.refuses)
