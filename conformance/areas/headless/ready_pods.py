"""HEADLESS-01: the name leads to the pods themselves."""

from __future__ import annotations

from conformance.asking import DOMAIN, KINDS, addresses, becomes, query, records
from conformance.lab import Lab
from conformance.objects import family_of, port
from conformance.requirements import Level, requirement
from conformance.timing import Aim
from conformance.vantage import Vantage


async def ports_lead(lab: Lab, client: Vantage, name: str, right: list[str]) -> None:
    """The SRV records of the port ``web`` give its number, and each a target that is one of the pods."""
    attempt = lab.timing.attempt.seconds
    asked = await lab.probe("SRV", client, query(client, f"_web._tcp.{name}", "udp", attempt, "SRV"))
    found = records(asked.data[0], "SRV")
    kind = KINDS[family_of(right[0])]
    targets = [query(client, str(row.target), "udp", attempt, kind) for row in found]
    led = [addresses(await lab.probe("where they lead", client, target), kind) for target in targets]
    value = f"SRV from {client.name}"
    lab.value(value, {"ports": sorted({row.port for row in found}), "leads to": sorted(led)})
    expected = {"ports": [80], "leads to": [[ip] for ip in right]}
    lab.expect_value("equals", value, {"expected": expected}, "a record for each ready pod leads to its port")


@requirement(
    "HEADLESS-01", Level.CORE,
    source="kubernetes/dns specification, 2.4.1 and 2.4.2: headless Services; e2e dns.go, 'should provide "
    "DNS for services', which asks for any answer",
)
async def ready_pods(lab: Lab) -> None:
    """A headless Service MUST have no address, and its name and ports lead to its ready pods alone."""
    backends = await lab.backends(3)
    served = await lab.service([port(80, name="web")], backends, clusterIP="None")
    lab.value("address", served.ip)
    lab.expect_value("equals", "address", {"expected": "None"}, "it has no address")
    await backends.pods[2].vantage.ready(False)
    right = sorted(pod.ip for pod in backends.pods[:2])
    await lab.endpoints(served, right)
    name = f"{served.name}.{served.namespace}.svc.{DOMAIN}."
    kind = KINDS[family_of(right[0])]
    for client in lab.clients:
        known = f"addresses from {client.name}"
        aim = Aim(client, query(client, name, "udp", lab.timing.attempt.seconds, kind))
        took = await becomes(
            lab, known, aim, lambda data: sorted(row.address for row in records(data, kind)) == right,
            lab.timing.serves.seconds)
        lab.value(known, took >= 0)
        lab.expect_value("equals", known, {"expected": True}, f"its name gives {' and '.join(right)}")
        await ports_lead(lab, client, name, right)
