"""SEED-12: one node is elected the leader, which responds to ARP requests."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE
from conformance.balanced import address_of, pool_of
from conformance.features import Feature
from conformance.lab import Lab, Served
from conformance.measuring import announcer
from conformance.requirements import Level, requirement


@requirement(
    "SEED-12", Level.CORE, needs={"seed", "two-nodes", "witness"},
    features={Feature.LOAD_BALANCER_L2, Feature.POOL_CONFIG},
    source=f"{SOURCE}, 'one node is elected the leader which responds to ARP requests'",
)
async def leader(lab: Lab) -> None:
    """One node MUST answer ARP requests for the address of the post's Service, and be of the cluster's."""
    known = await pool_of(lab)
    if not known.waiting:
        lab.evidence.unknown(lab.id, "the load balancer had a pool before this run, so nothing was pending")
        return
    address = await address_of(lab, Served.of(known.waiting), lab.timing.balanced)
    node, mac = await announcer(lab, address) if address else ("", "")
    lab.step(f"{mac or 'nobody, or more than one,'} answers for {address or 'no address'}")
    lab.value("leader", node)
    names = {"expected": [one.name for one in lab.nodes]}
    lab.expect_value("one_of", "leader", names, "exactly one MAC answers, and it is a node's")
