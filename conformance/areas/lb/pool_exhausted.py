"""LB-13: when all addresses are gone."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.balanced import address_of, events, pool_of
from conformance.features import Feature
from conformance.kube import KubeError, Objects
from conformance.lab import Lab, Served
from conformance.objects import port
from conformance.pool import given_to
from conformance.requirements import Level, requirement
from conformance.timing import Duration

REASON = "AllocationFailed"
WAITS = Duration(1.0, True, "a Service without an address keeps waiting")


async def until_told(lab: Lab, waiting: Served) -> list[str]:
    """The reasons of its events, once the one is among them or patience is over."""
    since, said = lab.now(), list[str]()
    while REASON not in said and lab.now() - since < lab.timing.balanced.seconds:
        said = await events(lab, waiting)
    return said


async def owner_of(lab: Lab, address: str, waiting: Sequence[Served]) -> str:
    """Which of ``waiting`` has ``address``, once one has; empty when none has it in time."""
    names = {(one.namespace, one.name): one.name for one in waiting}

    def found(known: Objects) -> str | None:
        return next((names[key] for key in names if address in given_to(known.get(key))), None)

    within = lab.timing.freed.seconds
    try:
        return await lab.rig.services().until(found, within, f"somebody has {address}")
    except KubeError as problem:
        lab.step(str(problem))
        return ""


@requirement(
    "LB-13", Level.EXT, features={Feature.LOAD_BALANCER, Feature.POOL_CONFIG}, disruptive=True,
    source="MetalLB e2e assignment.go, 'should remove the ip from a service assign it to a free one'; "
    "MetalLB #1586, #1645, #413",
)
async def pool_exhausted(lab: Lab) -> None:
    """A Service for which no address is left MUST wait, be told of in an event, and get the first freed."""
    size = (await pool_of(lab)).size
    if not size:
        lab.evidence.unknown(lab.id, "the size of the pool is not known, so it cannot be used up")
        return
    made = [await lab.service([port(80)], name=f"wants-{n}", type="LoadBalancer", selector={"app": "nobody"})
            for n in range(size + 1)]
    last = made[-1]
    lab.value("events", await until_told(lab, last))
    lab.expect_value("includes", "events", {"expected": [REASON]}, "an event tells that no address is left")
    lab.value("while none is free", await address_of(lab, last, WAITS))
    lab.expect_value("equals", "while none is free", {"expected": ""}, "the Service has no address")
    address = await address_of(lab, made[0], lab.timing.balanced)
    since = lab.now()
    await lab.kube.delete("Service", "v1", made[0].namespace, made[0].name)
    lab.step(f"deleted Service {made[0].name}, which had {address}")
    lab.value("afterwards", await owner_of(lab, address, made[1:]))
    lab.value("reassigned_s", round(lab.now() - since, 3))
    names = {"expected": [one.name for one in made[1:]]}
    lab.expect_value("one_of", "afterwards", names, "one that waits gets the freed address within 60 s")
    for one in made[1:]:  # those that run later need addresses, too
        await lab.kube.delete("Service", "v1", one.namespace, one.name)
