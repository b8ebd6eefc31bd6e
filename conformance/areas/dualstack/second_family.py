"""DUALSTACK-06: what is promised of a Service holds in its second family, too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from conformance.expectations import Answered, Dropped, Expectation, Refused, local_empty
from conformance.features import Feature
from conformance.lab import Backends, Lab, Served, each
from conformance.objects import family_of, port
from conformance.pinned import follows
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.sticking import sticks
from conformance.timing import Aim

BOTH: dict[str, Any] = {"ipFamilyPolicy": "RequireDualStack"}
SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds
COUNT = 60  # without affinity one of three answers them all with less than 1e-27


async def sticky(lab: Lab) -> None:
    """With ClientIP each client keeps to one of three pods."""
    backends = await lab.backends(3, name="sticky")
    served = await lab.service([port(80)], backends, name="sticky", sessionAffinity="ClientIP", **BOTH)
    probe = Probe("tcp", (served.ips[1], 80), count=COUNT, timeout=lab.timing.attempt.seconds)
    aims = each(lab.clients, probe)
    if not await lab.serves("sticky", aims, Answered(by=backends.nonces), "a selected pod answers"):
        return
    await sticks(lab, aims, backends)


async def one(lab: Lab, name: str, **spec: Any) -> tuple[Backends, Served]:
    """A Service of both families whose only pod is on the first node."""
    backends = await lab.backends(1, nodes=lab.nodes[:1], name=name)
    return backends, await lab.service([port(80)], backends, name=name, **BOTH, **spec)


async def near_and_far(
    lab: Lab, name: str, aims: list[Aim], near: Expectation, far: Expectation,
) -> None:
    """The first aim is answered; the others come to a node without an endpoint."""
    patient = replace(aims[0].probe, timeout=lab.timing.attempt.seconds)
    says = f"{name}: the pod on that node answers"
    if not await lab.serves(f"{name}, near", [Aim(aims[0].vantage, patient)], near, says):
        return
    says = f"{name}: a node without an endpoint gives no answer: {far.sentence()}"
    await lab.serves(f"{name}, far", aims[1:], far, says)


async def internal(lab: Lab) -> None:
    """With internalTrafficPolicy Local a pod reaches endpoints of its own node only."""
    backends, served = await one(lab, "internal", internalTrafficPolicy="Local")
    aims = each(lab.clients, Probe("tcp", (served.ips[1], 80), count=50, concurrency=50, timeout=SILENCE))
    far = local_empty(lab.declaration.conduct(Feature.ITP_LOCAL_EMPTY))
    await near_and_far(lab, "internal", aims, Answered(by=backends.nonces), far)


async def external(lab: Lab) -> None:
    """With externalTrafficPolicy Local the pod sees the client, and other nodes are silent."""
    backends, served = await one(lab, "external", type="NodePort", externalTrafficPolicy="Local")
    number = served.node_port()
    addresses = [next(one for one in node.addresses if family_of(one) == served.families[1])
                 for node in lab.nodes]
    aims = [Aim(lab.outside, Probe("tcp", (address, number), count=50, concurrency=50, timeout=SILENCE))
            for address in addresses]
    kept = lab.declaration.supports(Feature.CLIENT_ADDRESS)
    seen = Answered(by=backends.nonces, source=frozenset(lab.outside.addresses) if kept else None)
    reject = lab.declaration.conduct(Feature.ETP_LOCAL_EMPTY) == "reject"
    await near_and_far(lab, "external", aims, seen, Refused() if reject else Dropped())


@requirement(
    "DUALSTACK-06", Level.EXT, needs={"dual-stack", "two-nodes", "outside"},
    features={Feature.DUAL_STACK},
    source="KEP-563; kubernetes #80297, #97343 and #115501: what held for the first family was missing in "
    "the second; no suite looks",
)
async def second_family(lab: Lab) -> None:
    """In a second family affinity, both policies Local and replaced UDP backends MUST do as in the first."""
    async with asyncio.TaskGroup() as group:
        for part in (sticky(lab), internal(lab), external(lab), follows(lab, lab.clients, family=1, **BOTH)):
            group.create_task(part)
