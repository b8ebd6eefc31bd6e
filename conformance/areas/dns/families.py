"""DNS-07: what a name says to who asks for the other family, and names that are not there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import dns.rcode

from conformance.asking import DOMAIN, KINDS, becomes, message, query, records
from conformance.lab import Lab, Served
from conformance.objects import family_of, port
from conformance.requirements import Level, requirement
from conformance.timing import Aim
from conformance.vantage import Vantage


def full(served: Served, name: str = "") -> str:
    """A full name in the Service's namespace: its own where none is given."""
    return f"{name or served.name}.{served.namespace}.svc.{DOMAIN}."


def holds(kind: str, data: bytes) -> bool:
    """Whether an answer holds a record of this kind."""
    return bool(records(data, kind))


async def gives(lab: Lab, client: Vantage, name: str, code: str, ips: Sequence[str]) -> None:
    """In each family the answer has this code, and the addresses of ``ips`` that are of it."""
    told, attempt = {}, lab.timing.attempt.seconds
    for kind in KINDS.values():
        asked = query(client, name, "udp", attempt, kind)
        data = (await lab.probe(f"{kind} of {name}", client, asked)).data[0]
        answer, found = message(data), sorted(row.address for row in records(data, kind))
        told[kind] = {"code": dns.rcode.to_text(answer.rcode()) if answer else "none", "addresses": found}
    value = f"{name} from {client.name}"
    lab.value(value, told)
    expected = {kind: {"code": code, "addresses": [ip for ip in ips if family_of(ip) == family]}
                for family, kind in KINDS.items()}
    says = f"{code}, and {' and '.join(ips) or 'no address'}"
    lab.expect_value("equals", value, {"expected": expected}, says)


@requirement(
    "DNS-07", Level.CORE,
    source="kubernetes/dns specification, 2.3.1; RFC 2308, 2.2: a name without records of a kind is no error",
)
async def families(lab: Lab) -> None:
    """A Service's name MUST give its addresses and no error in another family; other names are unknown."""
    nobody = {"app": "nobody"}
    made = [await lab.service([port(80)], name="single", selector=nobody),
            await lab.service([port(80)], name="all", selector=nobody, ipFamilyPolicy="PreferDualStack")]
    attempt, within = lab.timing.attempt.seconds, lab.timing.serves.seconds
    for client in lab.clients:
        for served in made:
            kind = KINDS[family_of(served.ip)]
            aim = Aim(client, query(client, full(served), "udp", attempt, kind))
            await becomes(lab, "until known", aim, partial(holds, kind), within)
            await gives(lab, client, full(served), "NOERROR", served.ips)
        await gives(lab, client, full(made[0], "nobody-here"), "NXDOMAIN", ())
