"""DNS-01: a Service is found by all four forms of its name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from conformance.asking import DOMAIN, PACE, Transport, addresses, query
from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.requirements import Level, requirement
from conformance.timing import Aim, settles
from conformance.vantage import Vantage


@dataclass(frozen=True)
class Question:
    """One name asked from one pod, over one transport."""

    vantage: Vantage
    name: str
    transport: Transport


def candidates(name: str, search: tuple[str, ...], ndots: int) -> list[str]:
    """The names a stub resolver tries for ``name``, in order: the search list first when it has few dots."""
    if name.endswith("."):
        return [name]
    searched = [f"{name}.{domain}." for domain in search]
    return [f"{name}.", *searched] if name.count(".") >= ndots else [*searched, f"{name}."]


async def look_up(lab: Lab, asked: Question) -> list[str]:
    """Ask for each candidate in turn as the pod's resolver would; gives the first addresses that come."""
    series = f"{asked.name} over {asked.transport}"
    for name in candidates(asked.name, asked.vantage.search, asked.vantage.ndots):
        probe = query(asked.vantage, name, asked.transport, lab.timing.attempt.seconds)
        found = addresses(await lab.probe(series, asked.vantage, probe))
        if found:
            return found
    return []


async def check(lab: Lab, asked: Question, expected: list[str]) -> None:
    """The name gives exactly ``expected`` on the wire and, over UDP, from the pod's own resolver too."""
    name = f"{asked.name} over {asked.transport} from {asked.vantage.name}"
    lab.value(name, await look_up(lab, asked))
    lab.expect_value("equals", name, {"expected": expected}, "the name gives exactly the clusterIP")
    if asked.transport == "udp":
        name = f"{asked.name} by the system's resolver from {asked.vantage.name}"
        lab.value(name, list((await asked.vantage.resolve(asked.name)).addresses))
        says = "the system's resolver gives exactly the clusterIP"
        lab.expect_value("equals", name, {"expected": expected}, says)


@requirement(
    "DNS-01", Level.CORE,
    source="kubernetes/dns specification, 2.3.1 A and AAAA records; kubernetes.io/docs/concepts/"
    "services-networking/dns-pod-service",
)
async def names(lab: Lab) -> None:
    """Exactly the clusterIP MUST come for svc, svc.ns, svc.ns.svc and the full name, over UDP and TCP."""
    namespace = lab.rig.namespace  # that of the clients: the shortest form is for pods of the same namespace
    served = await lab.service([port(80)], name="named", namespace=namespace, selector={"app": "nobody"})
    short = f"{served.name}.{namespace}"
    full = f"{short}.svc.{DOMAIN}."
    forms = [served.name, short, f"{short}.svc", full]
    aims = [Aim(one, query(one, full, "udp", lab.timing.attempt.seconds)) for one in lab.clients]
    says = f"the cluster's DNS answers, within {lab.timing.serves.seconds:g} s"
    if await settles(lab, "DNS", aims, Answered(), lab.timing.serves, says):
        await known(lab, aims, served.ip)
        transports: tuple[Transport, ...] = ("udp", "tcp")
        asked = [Question(one, form, word) for one in lab.clients for form in forms for word in transports]
        await asyncio.gather(*[check(lab, question, [served.ip]) for question in asked])


async def known(lab: Lab, aims: list[Aim], ip: str) -> None:
    """Ask until every pod is told of the new name: a DNS server may learn of it a moment later."""
    since = lab.now()
    for aim in aims:
        paced = replace(aim.probe, count=5, interval=PACE)
        while addresses(await lab.probe("until the name is known", aim.vantage, paced)) != [ip]:
            if lab.now() - since > lab.timing.serves.seconds:
                return  # what is asked next will show it
