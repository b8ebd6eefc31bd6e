"""Other Services come, change and go without a pause, while one that nobody touches is used.

Measured once a run, read by several rows. Nothing of what is changed is ever sent to: its endpoints are
addresses for documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from conformance import objects
from conformance.evidence import Outcome
from conformance.expectations import Answered
from conformance.lab import Lab, Served, each
from conformance.probes import Probe
from conformance.timing import Aim, settles

PORT = 8090
SECONDS = 3.0
FRESH, HELD, AT_ONCE = 0.005, 0.05, 10  # seconds between connections, between exchanges; connections held

NOWHERE = "192.0.2."
Seen = Sequence[tuple[Aim, Sequence[Outcome]]]


@dataclass(frozen=True)
class Churned:
    """What one Service's clients saw; empty when it never answered at all."""

    right: Answered
    changes: int = 0
    fresh: Seen = ()
    held: Seen = ()


async def churned(lab: Lab) -> Churned:
    """The one measurement of the run. Raises KubeError and VantageError."""
    return await lab.rig.once("churn", lambda: _measure(lab))


async def _measure(lab: Lab) -> Churned:
    backends = await lab.backends(2)
    served = await lab.service([objects.port(PORT, 80)], backends, name="untouched")
    right, attempt = Answered(by=backends.nonces), lab.timing.attempt.seconds
    warm = each(lab.clients, Probe("tcp", (served.ip, PORT), timeout=attempt))
    if not await settles(lab, "before", warm, right, lab.timing.serves, "the Service answers before"):
        return Churned(right)
    count = round(SECONDS / FRESH)
    new = Probe("tcp", (served.ip, PORT), count=count, interval=FRESH, timeout=attempt)
    kept = Probe("held", (served.ip, PORT), count=round(SECONDS / HELD), concurrency=AT_ONCE, interval=HELD,
                 timeout=attempt)
    over = asyncio.Event()
    changing = asyncio.create_task(_churn(lab, over))
    try:
        fresh, held = await asyncio.gather(_seen(each(lab.clients, new)), _seen(each(lab.clients, kept)))
    finally:
        over.set()
        changes = await changing
    return Churned(right, changes, fresh, held)


async def _seen(aims: Sequence[Aim]) -> Seen:
    found = await asyncio.gather(*[aim.vantage.probe(aim.probe) for aim in aims])
    return [(aim, seen.outcomes) for aim, seen in zip(aims, found, strict=True)]


async def _churn(lab: Lab, over: asyncio.Event) -> int:
    """Make, change and delete Services with endpoints, in turn, until told; gives how many changes."""
    changes, number = 0, 0
    while not over.is_set():
        number += 1
        served = await lab.service([objects.port(9000)], name=f"changed-{number}")
        for size in (1, 3, 2):
            await _endpoints(lab, served, size, first=size == 1)
        await lab.remove(served)
        changes += 5
    return changes


async def _endpoints(lab: Lab, served: Served, size: int, *, first: bool) -> None:
    """Give the Service ``size`` endpoints that are nowhere."""
    addresses = [f"{NOWHERE}{number}" for number in range(1, size + 1)]
    ports = [{"name": "", "port": 9000, "protocol": "TCP"}]
    made = objects.endpoint_slice(served.name, lab.rig.run, served.name, addresses, ports)
    if first:
        await lab.kube.create(made, served.namespace)
        return
    made["metadata"]["namespace"] = served.namespace
    await lab.kube.replace(made)


def judge(lab: Lab, seen: Churned, series: str, found: Seen, says: str) -> None:
    """Record one series of the measurement and expect every attempt of it to be right."""
    if not found:
        lab.evidence.unknown(lab.id, "the Service that nobody touches never answered; another row is red")
        return
    lab.step(f"meanwhile {seen.changes} changes to other Services")
    lab.value("changes", seen.changes)
    for aim, outcomes in found:
        lab.probed(series, aim, outcomes)
    lab.expect("every", series, {"acceptable": seen.right.to_json()}, says)
