"""SEED-10: each of the Service types builds on the last."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE, page, shows_login
from conformance.balanced import address_of, pool_of
from conformance.features import Feature
from conformance.lab import Lab, Served
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "SEED-10", Level.CORE, needs={"seed", "outside"}, features={Feature.LOAD_BALANCER, Feature.POOL_CONFIG},
    source=f"{SOURCE}, 'how a ClusterIP and NodePort are used when a LoadBalancer Service is created'",
)
async def builds_on(lab: Lab) -> None:
    """One LoadBalancer Service MUST bring the login page at its address, its NodePorts and its ClusterIP."""
    post, known = await lab.post(), await pool_of(lab)
    if not known.waiting:
        lab.evidence.unknown(lab.id, "the load balancer had a pool before this run, so nothing was pending")
        return
    served = Served.of(known.waiting)
    address = await address_of(lab, served, lab.timing.balanced)
    lab.value("has an address", bool(address))
    lab.expect_value("equals", "has an address", {"expected": True}, "the Service gets an address")
    if not address:
        return
    aims = [Aim(lab.outside, page(lab, address, 80)), Aim(post.client.vantage, page(lab, served.ip, 80))]
    aims += [Aim(lab.outside, page(lab, node.addresses[0], served.node_port())) for node in lab.nodes]
    says = "the page answers at the external IP, at the NodePort of every node, and at the ClusterIP"
    await shows_login(lab, "login page", aims, says)
