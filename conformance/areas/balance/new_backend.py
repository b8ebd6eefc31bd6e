"""BALANCE-04: a new backend is used soon."""

from __future__ import annotations

from dataclasses import replace

from conformance.expectations import Answered
from conformance.lab import Backends, Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.rig import Wanted
from conformance.timing import Aim


async def first_answer(lab: Lab, aim: Aim, nonce: str, since: float) -> None:
    """Probe until ``nonce`` answers or the bound is over; seconds since it was ready are a value."""
    bound = lab.timing.joins.seconds
    while lab.now() - since <= bound:
        seen = await aim.vantage.probe(aim.probe)
        lab.probed("after scaling", aim, seen.outcomes)
        found = [outcome.at for outcome in seen.outcomes if outcome.by == nonce]
        if found:
            lab.value("first_answer_s", round(max(0.0, min(found) - since), 3))
            return


@requirement(
    "BALANCE-04", Level.CORE,
    source="e2e service.go, 'should be able to update service type' and its endpoint lag of 30 s; "
    "upstream judges the removal of a backend only",
)
async def new_backend(lab: Lab) -> None:
    """A backend that is added MUST get traffic, from every node, within 30 s of being ready."""
    first = await lab.backends(1)
    served = await lab.service([port(80)], first)
    probe = Probe("tcp", (served.ip, 80), count=10, timeout=lab.timing.attempt.seconds)
    says = "the first backend answers alone"
    if not await lab.serves("before scaling", each(lab.clients, probe), Answered(by=first.nonces), says):
        return
    wanted = Wanted("added", lab.nodes[-1].name, first.selector, ("tcp:80",))
    added = await lab.rig.agents(await lab.namespace(), [wanted])
    since, both = lab.now(), Backends((*first.pods, *added), first.selector)
    lab.step(f"{added[0].nonce} = {added[0].ip} is ready, too")
    every = replace(probe, count=60)
    for aim in each(lab.clients, probe):
        await first_answer(lab, aim, added[0].nonce, since)
        lab.probed(origin := f"from {aim.vantage.name}", aim, (await aim.vantage.probe(every)).outcomes)
        lab.expect("covers", origin, {"backends": sorted(both.nonces)}, "the old and the new backend answer")
