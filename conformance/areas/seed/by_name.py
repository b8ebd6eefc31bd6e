"""SEED-02: curl http://nextcloud-dev-clusterip:8080."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE, cluster_ip, page, shows_login
from conformance.lab import Lab
from conformance.post import CLUSTER_IP
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement("SEED-02", Level.CORE, source=f"{SOURCE}, 'and the DNS name of the service'", needs={"seed"})
async def by_name(lab: Lab) -> None:
    """The NextCloud login page MUST come at http://nextcloud-dev-clusterip:8080 to another pod."""
    post = await lab.post()
    ip = cluster_ip(post)
    aim = Aim(post.client.vantage, page(lab, ip, 8080, host=f"{CLUSTER_IP}:8080"))
    await shows_login(lab, "login page", [aim], "the page answers by name")
    found = await post.client.vantage.resolve(CLUSTER_IP)
    lab.value("address of the name", list(found.addresses))
    lab.expect_value("equals", "address of the name", {"expected": [ip]}, "the name gives the ClusterIP")
