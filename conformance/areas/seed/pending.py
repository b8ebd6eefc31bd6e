"""SEED-09: the External IP is stuck in pending, because no pool of addresses is defined."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE
from conformance.balanced import address_of, pool_of
from conformance.features import Feature
from conformance.lab import Lab, Served
from conformance.pool import FIRST
from conformance.requirements import Level, requirement


@requirement(
    "SEED-09", Level.CORE, needs={"seed"}, features={Feature.LOAD_BALANCER, Feature.POOL_CONFIG},
    source=f"{SOURCE}, 'the external IP was now populated with the first IP in the defined range'",
)
async def pending(lab: Lab) -> None:
    """A Service of type LoadBalancer MUST be pending without a pool, and get 192.168.2.200 of the post's."""
    known = await pool_of(lab)
    if not known.waiting:
        lab.evidence.unknown(lab.id, "the load balancer had a pool before this run, so nothing was pending")
        return
    lab.value("address without a pool", known.early)
    lab.expect_value("equals", "address without a pool", {"expected": ""}, "without a pool it stays pending")
    lab.value("address", await address_of(lab, Served.of(known.waiting), lab.timing.balanced))
    says = "with the post's pool it gets the first address of the range"
    lab.expect_value("equals", "address", {"expected": FIRST}, says)
