"""SEED-11: Traefik keeps 192.168.2.114, which it had before."""

from __future__ import annotations

from conformance.areas.seed.page import SOURCE
from conformance.balanced import address_of, pool_of
from conformance.features import Feature
from conformance.lab import Lab, Served
from conformance.pool import given_to
from conformance.requirements import Level, requirement

TRAEFIK = "/api/v1/namespaces/kube-system/services/traefik"


@requirement(
    "SEED-11", Level.IMPL, needs={"seed"},
    features={Feature.LOAD_BALANCER, Feature.POOL_CONFIG, Feature.FOREIGN_ADDRESS},
    source=f"{SOURCE}, 'service/traefik   LoadBalancer   10.43.212.219   192.168.2.114'",
)
async def untouched(lab: Lab) -> None:
    """An address from elsewhere MUST stay as it is when a pool is given, or be taken over, as declared."""
    known = await pool_of(lab)
    found = await lab.kube.request("GET", TRAEFIK)
    if not known.waiting or not found.ok:
        lab.evidence.unsupported(lab.id, "this cluster has no Traefik with an address from before the pool")
        return
    had, other = given_to(found.body), Served.of(known.waiting)
    lab.value("another gets an address", bool(await address_of(lab, other, lab.timing.balanced)))
    lab.expect_value("equals", "another gets an address", {"expected": True}, "the load balancer is at work")
    now = given_to((await lab.kube.request("GET", TRAEFIK)).body)
    lab.value("addresses of Traefik", {"now": now, "of the pool": [one for one in now if known.holds(one)]})
    if lab.declaration.conduct(Feature.FOREIGN_ADDRESS) == "kept":
        right = {"expected": {"now": had, "of the pool": []}}
        lab.expect_value("equals", "addresses of Traefik", right, "Traefik has what it had")
    else:
        lab.value("taken over", now != [] and all(known.holds(one) for one in now))
        lab.expect_value("equals", "taken over", {"expected": True}, "Traefik has an address of the pool")
