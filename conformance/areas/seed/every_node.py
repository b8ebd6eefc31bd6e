"""SEED-05: the login page by using the IP address of any node."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE, node_port, page, shows_login
from conformance.lab import Lab
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "SEED-05", Level.CORE, needs={"seed", "outside"},
    source=f"{SOURCE}, 'by using the IP address of any node in the Cluster'",
)
async def every_node(lab: Lab) -> None:
    """The NextCloud login page MUST come at the NodePort of every node, to a client outside the cluster."""
    post = await lab.post()
    aims = [Aim(lab.outside, page(lab, node.addresses[0], node_port(post))) for node in lab.nodes]
    await shows_login(lab, "login page", aims, "the page answers at the NodePort of every node")
