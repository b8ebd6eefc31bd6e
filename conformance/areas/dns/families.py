"""DNS-07: what a name says to who asks for the other family, and names that are not there."""

from __future__ import annotations

from collections.abc import Sequence

import dns.rcode

from conformance.asking import DOMAIN, becomes, message, query, records, unknown
from conformance.features import Feature
from conformance.lab import Lab, Served
from conformance.objects import family_of, port
from conformance.requirements import Level, requirement
from conformance.timing import Aim
from conformance.vantage import Vantage

KINDS = {"IPv4": "A", "IPv6": "AAAA"}


def full(served: Served, name: str = "") -> str:
    """A full name in the Service's namespace: its own where none is given."""
    return f"{name or served.name}.{served.namespace}.svc.{DOMAIN}."


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
    """A name MUST have its Service's addresses, be empty and no error in another family, else be unknown."""
    made = [await lab.service([port(80)], name="one", selector={"app": "nobody"})]
    if lab.dual_stack and lab.declaration.supports(Feature.DUAL_STACK):
        made.append(await lab.service(
            [port(80)], name="two", selector={"app": "nobody"}, ipFamilyPolicy="RequireDualStack"))
    attempt, within = lab.timing.attempt.seconds, lab.timing.serves.seconds
    for client in lab.clients:
        for served in made:
            kind = KINDS[family_of(served.ip)]
            aim = Aim(client, query(client, full(served), "udp", attempt, kind))
            await becomes(lab, "until known", aim, lambda data: not unknown(data), within)
            await gives(lab, client, full(served), "NOERROR", served.ips)
        await gives(lab, client, full(made[0], "nobody-here"), "NXDOMAIN", ())
