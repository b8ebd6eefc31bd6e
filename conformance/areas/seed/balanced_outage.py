"""SEED-08: if that node fails, a different node becomes the leader."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE
from conformance.expectations import Answered
from conformance.failover import BALANCED_UDP, LOST_NODE, Kind, bound, found_node, lose
from conformance.features import Feature
from conformance.lab import Lab
from conformance.measuring import expect_gap, outage, record
from conformance.requirements import Level, requirement


@requirement(
    "SEED-08", Level.CORE, needs={"two-nodes", "outside", "witness", "kill"}, disruptive=True,
    features={Feature.LOAD_BALANCER_L2},
    source=f"{SOURCE}, 'if that node fails, a different node becomes the leader'",
)
async def balanced_outage(lab: Lab) -> None:
    """The same death of a node MUST cost the load balancer's address no more than its declared bound."""
    lost = await lose(lab, Kind.POWER)
    if not found_node(lab, lost):
        return
    assert lost.fault is not None
    record(lab, lost.fault, f"{lost.node}: power loss", (BALANCED_UDP, LOST_NODE))
    says = f"the address is back within {bound(lab):g} s, through another node"
    expect_gap(lab, lost.fault, BALANCED_UDP, bound(lab), says, Answered(by=lost.surviving))
    lab.value("load_balancer_outage_s", outage(lost.fault, BALANCED_UDP))
