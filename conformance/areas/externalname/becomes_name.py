"""EXTERNALNAME-03, EXTERNALNAME-04, EXTERNALNAME-05: a Service with pods that becomes a name."""

from __future__ import annotations

import asyncio

from conformance.asking import DOMAIN, becomes, query, records
from conformance.expectations import Answered, Unanswered
from conformance.lab import Backends, Lab, Served, each
from conformance.objects import port, service
from conformance.probes import Probe
from conformance.ranges import free_address, free_port
from conformance.requirements import Level, requirement
from conformance.timing import Aim

UPSTREAM = "e2e service.go, 'should be able to change the type from"
LONGEST = 30.0  # seconds: the default of CoreDNS's cache
SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


async def turned(lab: Lab, served: Served, target: str) -> None:
    """The Service is an ExternalName from now on, and has no address any more."""
    ports = [{key: value for key, value in one.items() if key != "nodePort"} for one in served.ports]
    now = await lab.update(served, type="ExternalName", externalName=target, ports=ports, clusterIP="",
                           clusterIPs=None, ipFamilies=None, ipFamilyPolicy=None)
    lab.value("address", now.ip)
    lab.expect_value("equals", "address", {"expected": ""}, "it has no clusterIP any more")


async def left(lab: Lab, served: Served, backends: Backends, aims: list[Aim]) -> None:
    """The pods answer where ``aims`` go, and once the Service is an ExternalName nobody does."""
    if not await lab.serves("before", aims, Answered(by=backends.nonces), "a selected pod answers"):
        return
    await turned(lab, served, "elsewhere.example")
    patient = [Aim(aim.vantage, Probe("tcp", aim.probe.target, count=50, timeout=SILENCE)) for aim in aims]
    says = "nobody answers there any more"
    await lab.serves("after", patient, Unanswered(), says, within=lab.timing.refuses)


@requirement(
    "EXTERNALNAME-03", Level.CORE,
    source=f"{UPSTREAM} ClusterIP to ExternalName'; kubernetes/dns specification, 2.5",
)
async def name(lab: Lab) -> None:
    """A Service that becomes an ExternalName MUST lose its address, and its name be a CNAME of the target."""
    served = await lab.service([port(80)], selector={"app": "nobody"})
    target = await lab.service([port(80)], selector={"app": "nobody"}, name="target")
    full, led = (f"{one.name}.{one.namespace}.svc.{DOMAIN}." for one in (served, target))
    await turned(lab, served, led.rstrip("."))
    attempt = lab.timing.attempt.seconds
    aims = [Aim(client, query(client, full, "udp", attempt, "CNAME")) for client in lab.clients]
    took = await asyncio.gather(*[becomes(
        lab, "CNAME", aim, lambda data: [str(row.target) for row in records(data, "CNAME")] == [led], LONGEST,
    ) for aim in aims])
    lab.value("CNAME", min(took) >= 0)
    lab.expect_value("equals", "CNAME", {"expected": True}, f"its name is another one of {led}")


@requirement(
    "EXTERNALNAME-04", Level.CORE, needs={"outside"}, source=f"{UPSTREAM} NodePort to ExternalName'",
)
async def node_port(lab: Lab) -> None:
    """A NodePort Service that becomes an ExternalName MUST leave its port on every node to others."""
    backends, attempt = await lab.backends(2), lab.timing.attempt.seconds
    number = await free_port(lab)  # nobody else is given that one by chance
    served = await lab.service([port(80, node_port=number)], backends, type="NodePort")
    probes = [Probe("tcp", (node.addresses[0], number), count=50, timeout=attempt) for node in lab.nodes]
    await left(lab, served, backends, [Aim(lab.outside, probe) for probe in probes])
    wanted = service("next", lab.rig.run, [port(80, node_port=number)], {"app": "nobody"}, type="NodePort")
    await lab.attempt("the port again", wanted)
    lab.expect_value("equals", "the port again", {"expected": {"code": 201}}, "another Service is given it")


@requirement(
    "EXTERNALNAME-05", Level.CORE,
    source="kubernetes.io/docs/concepts/services-networking/service#externalname: no proxying of any kind is "
    "set up for it; no suite looks",
)
async def cluster_ip(lab: Lab) -> None:
    """The clusterIP of a Service that has become an ExternalName MUST NOT be answered at by anybody."""
    backends, attempt = await lab.backends(2), lab.timing.attempt.seconds
    served = await lab.service([port(80)], backends, clusterIP=await free_address(lab))
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=50, timeout=attempt))
    await left(lab, served, backends, aims)
