"""DUALSTACK-05: endpoints of one family only."""

from __future__ import annotations

from conformance import objects
from conformance.expectations import Answered, nobody
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "DUALSTACK-05", Level.EXT, needs={"dual-stack"}, features={Feature.DUAL_STACK},
    source="KEP-563: each family has its own slices and is served by them alone; no suite looks",
)
async def one_empty(lab: Lab) -> None:
    """A Service with endpoints in one family only MUST serve that one, and refuse in the other."""
    backends, attempt = await lab.backends(2), lab.timing.attempt.seconds
    served = await lab.service([port(80)], ipFamilyPolicy="RequireDualStack")
    refused = nobody(lab.declaration.conduct(Feature.NO_ENDPOINTS))

    def at(ip: str) -> list[Aim]:
        return each(lab.clients, Probe("tcp", (ip, 80), count=50, timeout=attempt))

    for number, family in enumerate(served.families):
        made = objects.endpoint_slice(
            f"{served.name}-{family.lower()}", lab.rig.run, served.name,
            sorted(backends.addresses({family})))
        stored = await lab.kube.create(made, served.namespace)
        says, full = f"with endpoints of {family} only, that family answers", at(served.ips[number])
        if not await lab.serves(f"{family} alone", full, Answered(by=backends.nonces), says):
            return
        says = f"with endpoints of {family} only, the other family refuses"
        if not await lab.serves(
            f"not {family}", at(served.ips[1 - number]), refused, says, within=lab.timing.refuses,
        ):
            return
        await lab.kube.delete("EndpointSlice", "discovery.k8s.io/v1", served.namespace,
                              stored["metadata"]["name"])
