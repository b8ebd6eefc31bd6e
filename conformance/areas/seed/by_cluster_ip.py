"""SEED-01: curl http://10.43.7.203:8080."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE, cluster_ip, page, shows_login
from conformance.lab import Lab
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement("SEED-01", Level.CORE, source=f"{SOURCE}, 'by using both the Cluster IP'", needs={"seed"})
async def by_cluster_ip(lab: Lab) -> None:
    """The NextCloud login page MUST come at the ClusterIP of nextcloud-dev-clusterip to another pod."""
    post = await lab.post()
    aims = [Aim(post.client.vantage, page(lab, cluster_ip(post), 8080))]
    await shows_login(lab, "login page", aims, "the page answers at the ClusterIP")
