"""TOPOLOGY-07: a hint is no reason to use a pod that is not ready."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.meanwhile import meanwhile
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement


@requirement(
    "TOPOLOGY-07", Level.CORE, needs={"two-nodes"}, features={Feature.SAME_NODE},
    source="kubernetes #106507: hints steered traffic to endpoints that were not ready; no suite looks",
)
async def unready(lab: Lab) -> None:
    """With hints no client MUST be sent to a pod that is not ready while another one is."""
    backends = await lab.backends(2, nodes=lab.nodes[:2])
    served = await lab.service([port(80)], backends, trafficDistribution="PreferSameNode")
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=50, timeout=lab.timing.attempt.seconds))
    some, says = Answered(by=backends.nonces), "a pod answers, be it the preferred one or not"
    if not await lab.serves("both ready", aims, some, says):
        return
    async with meanwhile(lab, "while it turns unready", aims, some, says):
        await backends.pods[0].vantage.ready(False)
        await lab.endpoints(served, {backends.pods[1].ip})
        ready = Answered(by=frozenset({backends.pods[1].nonce}))
        says = "the pod that is ready answers every client"
        await lab.serves("one ready", aims, ready, says, within=lab.timing.joins)
