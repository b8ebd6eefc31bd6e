"""HEADLESS-02: a Service that its label takes away from the proxy."""

from __future__ import annotations

from conformance.expectations import Answered, Unanswered
from conformance.lab import Lab, Served, each
from conformance.meanwhile import meanwhile
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

LABEL = "service.kubernetes.io/headless"
SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


async def label(lab: Lab, served: Served, there: bool) -> None:
    """Give the Service the label, or take it away. Raises KubeError."""
    made = await lab.kube.get("Service", "v1", served.namespace, served.name)
    labels = made["metadata"].setdefault("labels", {})
    if there:
        labels[LABEL] = ""
    else:
        labels.pop(LABEL, None)
    await lab.kube.replace(made)
    lab.step(f"Service {served.namespace}/{served.name}: label {LABEL} {'set' if there else 'removed'}")


@requirement(
    "HEADLESS-02", Level.CORE,
    source="kubernetes.io/docs/reference/labels-annotations-taints, service.kubernetes.io/headless; e2e "
    "service.go, 'should implement service.kubernetes.io/headless'",
)
async def labelled(lab: Lab) -> None:
    """With the label headless a clusterIP MUST NOT be served, and without it again; others are meanwhile."""
    backends, attempt = await lab.backends(2), lab.timing.attempt.seconds
    right = Answered(by=backends.nonces)
    served = await lab.service([port(80)], backends)
    other = await lab.service([port(80)], backends, name="other")

    def at(one: Served, timeout: float = attempt) -> list[Aim]:
        return each(lab.clients, Probe("tcp", (one.ip, 80), count=50, timeout=timeout))

    if not await lab.serves("before", [*at(served), *at(other)], right, "both answer"):
        return
    async with meanwhile(lab, "the other one", at(other), right, "one without the label always answers"):
        await label(lab, served, there=True)
        silent, says = at(served, SILENCE), "nobody answers at a clusterIP that is labelled headless"
        if await lab.serves("labelled", silent, Unanswered(), says, within=lab.timing.refuses):
            await label(lab, served, there=False)
            await lab.serves("after", at(served), right, "it answers again without the label")
