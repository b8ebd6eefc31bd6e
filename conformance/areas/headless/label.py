"""HEADLESS-02: slices that their label takes away from the proxy."""

from __future__ import annotations

from conformance import objects
from conformance.expectations import Answered, nobody
from conformance.features import Feature
from conformance.lab import Lab, Served, each
from conformance.meanwhile import meanwhile
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

LABEL = "service.kubernetes.io/headless"


async def label(lab: Lab, served: Served, there: bool) -> None:
    """Give the Service's slice the label, or take it away. Raises KubeError."""
    made = await lab.kube.get("EndpointSlice", "discovery.k8s.io/v1", served.namespace, served.name)
    if there:
        made["metadata"]["labels"][LABEL] = ""
    else:
        del made["metadata"]["labels"][LABEL]
    await lab.kube.replace(made)
    lab.step(f"EndpointSlice {served.namespace}/{served.name}: label {LABEL} {'set' if there else 'removed'}")


@requirement(
    "HEADLESS-02", Level.CORE,
    source="kubernetes.io/docs/reference/labels-annotations-taints, service.kubernetes.io/headless; e2e "
    "service.go, 'should implement service.kubernetes.io/headless', which since 1.36 labels the slice",
)
async def labelled(lab: Lab) -> None:
    """A slice MUST NOT be used while it is labelled headless, and others meanwhile MUST be."""
    backends, attempt = await lab.backends(2), lab.timing.attempt.seconds
    right = Answered(by=backends.nonces)
    served = await lab.service([port(80)])
    addresses = [pod.ip for pod in backends.pods]
    made = objects.endpoint_slice(served.name, lab.rig.run, served.name, addresses)
    await lab.kube.create(made, served.namespace)
    other = await lab.service([port(80)], backends, name="other")

    def at(one: Served) -> list[Aim]:
        return each(lab.clients, Probe("tcp", (one.ip, 80), count=50, timeout=attempt))

    if not await lab.serves("before", [*at(served), *at(other)], right, "both answer"):
        return
    async with meanwhile(lab, "the other one", at(other), right, "one without the label always answers"):
        await label(lab, served, there=True)
        refused = nobody(lab.declaration.conduct(Feature.NO_ENDPOINTS))
        says = "with its only slice labelled headless the Service refuses"
        if await lab.serves("labelled", at(served), refused, says, within=lab.timing.refuses):
            await label(lab, served, there=False)
            await lab.serves("after", at(served), right, "it answers again without the label")
