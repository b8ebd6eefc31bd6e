"""DNS-06: a name that is no more, and is again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from conformance.asking import DOMAIN, becomes, query, records, ttl, unknown
from conformance.lab import Lab
from conformance.objects import port
from conformance.requirements import Level, requirement
from conformance.timing import Aim

LONGEST = 30.0  # seconds: the default of CoreDNS's cache, where the advertised TTL is shorter


async def within(lab: Lab, name: str, right: Callable[[bytes], bool], bound: float, what: str) -> bool:
    """Every client's answers are right within ``bound`` seconds and then stay so."""
    attempt = lab.timing.attempt.seconds
    aims = [Aim(client, query(client, name, "udp", attempt)) for client in lab.clients]
    took = await asyncio.gather(*[becomes(lab, what, aim, right, bound) for aim in aims])
    lab.value(what, min(took) >= 0)
    lab.value(f"{what.replace(' ', '_')}_s", max(took))
    lab.expect_value("equals", what, {"expected": True}, f"{what}, for every pod within {bound:g} s")
    return min(took) >= 0


@requirement(
    "DNS-06", Level.CORE,
    source="kubernetes/dns specification, 2.3: names are of Services that are; CoreDNS, plugins kubernetes "
    "(ttl 5) and cache (30 s)",
)
async def forgotten(lab: Lab) -> None:
    """A deleted name MUST be unknown within its TTL, and lead to the new address once it is there again."""
    made = await lab.service([port(80)], name="comes-and-goes", selector={"app": "nobody"})
    name, ttls = f"{made.name}.{made.namespace}.svc.{DOMAIN}.", [LONGEST]

    def leads_to(ip: str) -> Callable[[bytes], bool]:
        return lambda data: [row.address for row in records(data, "A")] == [ip]

    def known(data: bytes) -> bool:
        ttls.append(ttl(data))
        return leads_to(made.ip)(data)

    if not await within(lab, name, known, lab.timing.serves.seconds, "the name is known"):
        return
    await lab.remove(made)
    if await within(lab, name, unknown, bound := max(ttls), "the name is unknown"):
        again = await lab.service([port(80)], name=made.name, selector={"app": "nobody"})
        await within(lab, name, leads_to(again.ip), bound, "the name leads to the new address")
