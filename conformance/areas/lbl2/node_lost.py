"""LB-L2-03: the announcing node is gone."""

from __future__ import annotations

from conformance.arp import unanswered
from conformance.expectations import Answered
from conformance.failover import BALANCED_TCP, BALANCED_UDP, Failover, Kind, bound, found_node, lose
from conformance.features import Feature
from conformance.lab import Lab
from conformance.measuring import Measured, expect_gap, record
from conformance.requirements import Level, requirement

SERIES = (BALANCED_UDP, BALANCED_TCP)


def judge(lab: Lab, lost: Failover, measured: Measured, what: str) -> None:
    """Expect each kind of client to be without the address for the declared bound at most."""
    record(lab, measured, f"{lost.node}: {what}", SERIES, prefix=f"{what}: ")
    for name in SERIES:
        says = f"{what} of the announcing node costs {name.partition(' at')[0]} at most {bound(lab):g} s"
        accepted = Answered(by=lost.surviving)
        expect_gap(lab, measured, name, bound(lab), says, accepted, prefix=f"{what}: ")


@requirement(
    "LB-L2-03", Level.EXT, needs={"two-nodes", "outside", "witness", "cut", "kill"}, disruptive=True,
    features={Feature.LOAD_BALANCER_L2},
    source="MetalLB, concepts/layer2: a few seconds, and more than 10 s is a bug; #1147, #733, #298, #767, "
    "#524 report 35 s to 18 min; its own tests look at the status only",
)
async def node_lost(lab: Lab) -> None:
    """The address MUST be back within the declared bound when its node loses power or its cable."""
    for kind in Kind:
        lost = await lose(lab, kind)
        if not found_node(lab, lost):
            return
        assert lost.fault is not None and lost.heal is not None
        judge(lab, lost, lost.fault, kind)
        judge(lab, lost, lost.heal, f"return after {kind}")
        heard, address = lost.fault.witnessed, lost.fault.series[BALANCED_UDP][0].probe.target[0]
        if heard is not None:
            cold = unanswered(heard.asked, heard.frames, address, lost.fault.acted)
            lab.value(f"cold_client_after_{kind.replace(' ', '_')}_s", round(min(cold, 999.0), 6))
