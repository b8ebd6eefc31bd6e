"""SEED-07: if you access through one node and it fails."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE
from conformance.expectations import Answered, Dropped, Unreachable, one_of
from conformance.failover import LOST_NODE, OTHER_NODE, Kind, found_node, lose
from conformance.lab import Lab
from conformance.measuring import expect_gap, outage, record
from conformance.requirements import Level, requirement

NOTHING = 0.6  # seconds: the same bound as a failover's, and no failover is needed here


@requirement(
    "SEED-07", Level.CORE, needs={"two-nodes", "outside", "snapshot", "witness", "kill"}, disruptive=True,
    source=f"{SOURCE}, the NodePort of one node is a single point of failure",
)
async def node_port_outage(lab: Lab) -> None:
    """A NodePort MUST be out through a node that dies, until it is back, and never through the others."""
    lost = await lose(lab, Kind.POWER)
    if not found_node(lab, lost):
        return
    assert lost.fault is not None and lost.heal is not None
    record(lab, lost.fault, f"{lost.node}: power loss", (LOST_NODE, OTHER_NODE))
    gone = {"acceptable": one_of(Dropped(), Unreachable()).to_json(), "within": 0.1,
            "since": lost.fault.acted + 0.005}
    lab.expect("settles", LOST_NODE, gone, "nothing answers at the NodePort of a dead node")
    says = "the NodePort of another node answers all the while"
    expect_gap(lab, lost.fault, OTHER_NODE, NOTHING, says, Answered(by=lost.surviving))
    back = lost.heal.series[LOST_NODE][1]
    again = [one.at for one in back if one.at >= lost.heal.acted and one.kind == "answered"]
    record(lab, lost.heal, f"{lost.node}: power is back", (LOST_NODE,), prefix="back: ")
    until = again[0] if again else back[-1].at
    lab.value("node_port_of_dead_node_outage_s", round(until - lost.fault.acted, 6))
    lab.value("node_port_of_others_outage_s", outage(lost.fault, OTHER_NODE))
