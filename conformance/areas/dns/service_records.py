"""DNS-02: ports by name, and names by address."""

from __future__ import annotations

import dns.reversename

from conformance.asking import DOMAIN, addresses, becomes, query, records
from conformance.lab import Lab
from conformance.objects import port
from conformance.requirements import Level, requirement
from conformance.timing import Aim
from conformance.vantage import Vantage


async def ask(lab: Lab, client: Vantage, name: str, kind: str) -> bytes:
    """One answer, over UDP."""
    probe = query(client, name, "udp", lab.timing.attempt.seconds, kind)
    return (await lab.probe(f"{kind} of {name}", client, probe)).data[0]


async def check(lab: Lab, client: Vantage, name: str, ip: str) -> None:
    """The SRV record of the port ``web`` of ``name``, where it leads, and the name of the address."""
    found = records(await ask(lab, client, f"_web._tcp.{name}", "SRV"), "SRV")
    targets = [str(row.target) for row in found]
    probes = [query(client, target, "udp", lab.timing.attempt.seconds) for target in targets]
    led = [addresses(await lab.probe("A of the targets", client, probe)) for probe in probes]
    reverse = records(await ask(lab, client, str(dns.reversename.from_address(ip)), "PTR"), "PTR")
    value = f"records from {client.name}"
    names = [str(row.target) for row in reverse]
    lab.value(value, {"ports": [row.port for row in found], "leads to": led, "name of the address": names})
    right = {"ports": [8080], "leads to": [[ip]], "name of the address": [name]}
    lab.expect_value("equals", value, {"expected": right}, "SRV leads to port and clusterIP, and PTR back")


@requirement(
    "DNS-02", Level.CORE,
    source="kubernetes/dns specification, 2.3.2 SRV records and 2.3.3 PTR records",
)
async def service_records(lab: Lab) -> None:
    """SRV MUST give a named port and a target that leads to the clusterIP, PTR the name of that address."""
    served = await lab.service([port(8080, 80, name="web")], name="recorded", selector={"app": "nobody"})
    name = f"{served.name}.{served.namespace}.svc.{DOMAIN}."
    attempt, within = lab.timing.attempt.seconds, lab.timing.serves.seconds
    for client in lab.clients:
        aim = Aim(client, query(client, name, "udp", attempt))
        await becomes(lab, "until known", aim, lambda data: bool(records(data, "A")), within)
        await check(lab, client, name, served.ip)
