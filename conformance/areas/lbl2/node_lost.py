"""LB-L2-03: the announcing node is gone."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.failover import BALANCED_TCP, BALANCED_UDP, PATIENT, Failover, Kind, bound, found_node, lose
from conformance.features import Feature
from conformance.kinds import NOISE
from conformance.lab import Lab
from conformance.measuring import ASK_INTERVAL, Measured, expect_gap, newcomer, noise, record
from conformance.requirements import Level, requirement

SERIES = (BALANCED_UDP, BALANCED_TCP)


def judge(lab: Lab, lost: Failover, measured: Measured, what: str) -> None:
    """Expect each kind of client to be without the address for the declared bound at most."""
    record(lab, measured, f"{lost.node}: {what}", SERIES, prefix=f"{what}: ")
    for name in SERIES:
        says = f"{what} of the announcing node costs {name.partition(' at')[0]} at most {bound(lab):g} s"
        accepted = Answered(by=lost.surviving)
        expect_gap(lab, measured, name, bound(lab), says, accepted, prefix=f"{what}: ")


def found_by_a_newcomer(lab: Lab, kind: Kind, fault: Measured) -> None:
    """How long a client that has yet to ask for the address waits for an answer.

    A paused node forwards for those who know its MAC, so only a newcomer sees that nobody answers for it;
    whoever takes over may make sure first, and has PATIENT times as long.
    """
    cold = newcomer(fault, fault.series[BALANCED_UDP][0].probe.target[0])
    if cold is None:
        return
    lab.value(f"cold_client_after_{kind.replace(' ', '_')}_s", round(min(cold, 999.0), 6))
    if kind is Kind.PAUSE and noise(fault, BALANCED_UDP) <= NOISE * bound(lab):
        longest = PATIENT * bound(lab)
        lab.value("newcomer", {"answered": cold <= longest + ASK_INTERVAL})
        says = f"who asks for the address by ARP after the {kind} is answered within {longest:g} s"
        lab.expect_value("equals", "newcomer", {"expected": {"answered": True}}, says)


@requirement(
    "LB-L2-03", Level.EXT, needs={"two-nodes", "outside", "witness", "cut", "kill", "pause"},
    disruptive=True,
    features={Feature.LOAD_BALANCER_L2},
    source="MetalLB, concepts/layer2: a few seconds, and more than 10 s is a bug; #1147, #733, #298, #767, "
    "#524 report 35 s to 18 min; its own tests look at the status only",
)
async def node_lost(lab: Lab) -> None:
    """The address MUST be back within the declared bound when its node loses power or cable, or is paused."""
    for kind in Kind:
        lost = await lose(lab, kind)
        if not found_node(lab, lost):
            return
        assert lost.fault is not None and lost.heal is not None
        judge(lab, lost, lost.fault, kind)
        judge(lab, lost, lost.heal, f"return after {kind}")
        found_by_a_newcomer(lab, kind, lost.fault)
