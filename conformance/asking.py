"""Questions to the cluster's DNS over one transport, and what their answers hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from conformance.lab import Lab
from conformance.probes import Attempts, Probe
from conformance.timing import Aim
from conformance.vantage import Vantage

DOMAIN = "cluster.local"
KINDS = {"IPv4": "A", "IPv6": "AAAA"}
Transport = Literal["udp", "tcp"]
PACE = 0.02  # seconds between two questions of one command
STREAK = 30  # answers in a row: two servers with a cache each agree by chance with 2e-9


def query(
    vantage: Vantage, name: str, transport: Transport, timeout: float, kind: str = "A",
) -> Probe:
    """One query for the records of a full name, to the pod's own nameserver."""
    wire = dns.message.make_query(name, dns.rdatatype.from_text(kind)).to_wire()
    server = (vantage.nameservers[0], 53)
    return Probe("exchange", server, protocol=transport, payload=wire, timeout=timeout)


def message(data: bytes) -> dns.message.Message | None:
    """One answer; None when nothing or nonsense came."""
    try:
        return dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return None


def records(data: bytes, kind: str) -> list[Any]:
    """The records of one answer that are of ``kind``."""
    answer = message(data)
    wanted = dns.rdatatype.from_text(kind)
    return [row for rows in answer.answer if rows.rdtype == wanted for row in rows] if answer else []


def addresses(seen: Attempts, kind: str = "A") -> list[str]:
    """The addresses (A or AAAA) of the last answer, sorted; none when nothing or nonsense came."""
    return sorted(row.address for row in records(seen.data[-1], kind))


def ttl(data: bytes) -> float:
    """The longest time to live of the records of one answer, seconds; 0 without any."""
    answer = message(data)
    return max((rows.ttl for rows in answer.answer), default=0) if answer else 0


def unknown(data: bytes) -> bool:
    """True when the answer is that there is no such name."""
    answer = message(data)
    return answer is not None and answer.rcode() == dns.rcode.NXDOMAIN


async def becomes(
    lab: Lab, series: str, aim: Aim, right: Callable[[bytes], bool], within: float,
) -> float:
    """Ask until 30 answers in a row are right; seconds until the first of these, -1 when too late."""
    since, first, seen = lab.now(), 0.0, 0
    while lab.now() - since <= within:
        found = await lab.probe(series, aim.vantage, replace(aim.probe, count=5, interval=PACE))
        for outcome, data in zip(found.outcomes, found.data, strict=True):
            seen = seen + 1 if right(data) else 0
            first = outcome.at if seen == 1 else first
        if seen >= STREAK:
            return round(max(0.0, first - since), 3)
    return -1.0
