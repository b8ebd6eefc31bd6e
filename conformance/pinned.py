"""UDP clients that keep their source port: for the kernel all they send is one flow, decided at its first
packet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from conformance.expectations import Answered
from conformance.lab import Backends, Lab, Served
from conformance.objects import port
from conformance.probes import Probe
from conformance.timing import Aim, origin
from conformance.vantage import Vantage

FIRST_PORT, COUNT = 12_345, 20  # upstream's own source port; datagrams of one look
PORTS = 50  # that one requirement has for itself

SILENCE = 0.3  # seconds without any answer; one that comes takes milliseconds
SILENT = 8  # datagrams of such a look, one after another


def flow(lab: Lab, client: Vantage, target: tuple[str, int], number: int = 0) -> Aim:
    """One datagram after another from the same source port, the ``number``-th of this requirement's own.

    A socket takes what comes to its port until it is connected, so two requirements with one port would now
    and then hear each other's answers.
    """
    attempt, own = lab.timing.attempt.seconds, FIRST_PORT + PORTS * lab.rig.number(lab.id) + number
    probe = Probe("udp", target, count=COUNT, concurrency=1, timeout=attempt, source_port=own)
    return Aim(client, probe)


def fresh(aims: Sequence[Aim]) -> list[Aim]:
    """The same clients, each datagram from a port of its own and so a flow of its own."""
    return [Aim(aim.vantage, replace(aim.probe, source_port=0)) for aim in aims]


def silent(aim: Aim) -> Aim:
    """The same flow, for as long as no answer is what must be seen."""
    return replace(aim, probe=replace(aim.probe, timeout=SILENCE, count=SILENT))


async def two(lab: Lab, *, same_node: bool = False) -> tuple[Backends, Backends]:
    """Two backends behind selectors of their own; the second takes over from the first. On two nodes where
    there are, unless they must be on the ``same_node``."""
    places = [lab.nodes[:1], lab.nodes[:1] if same_node else lab.nodes[-1:]]
    old = await lab.backends(1, nodes=places[0], name="old")
    return old, await lab.backends(1, nodes=places[1], name="new")


async def begun(lab: Lab, aims: Sequence[Aim], accepted: Answered, says: str) -> bool:
    """Flows begin, and are answered; True when they are.

    They begin once others are served: the kernel keeps to what it decided at a datagram that came before the
    rules, which is another question than what becomes of a flow that was served.
    """
    return bool(await lab.serves("others", fresh(aims), accepted, says)
                and await lab.serves("before", aims, accepted, says))


async def moved(lab: Lab, served: Served, to: Backends) -> None:
    """Have the Service select other pods, and wait until the API lists them."""
    await lab.update(served, selector=dict(to.selector))
    await lab.endpoints(served, to.addresses(served.families))


async def follows(
    lab: Lab, clients: Iterable[Vantage], *, node_port: bool = False, same_node: bool = False,
    family: int = 0, **spec: Any,
) -> None:
    """Flows to a UDP Service reach its backend, and once it is replaced the new one: the same flows.

    They go to the clusterIP of its first or second ``family``, 0 or 1, or to the first node's port.
    """
    first, second = await two(lab, same_node=same_node)
    spec["type"] = "NodePort" if node_port else "ClusterIP"
    served = await lab.service([port(80, protocol="UDP")], first, **spec)
    target = (lab.nodes[0].addresses[0], served.node_port("UDP")) if node_port else (served.ips[family], 80)
    aims = [flow(lab, client, target) for client in clients]
    if not await begun(lab, aims, Answered(by=first.nonces), "the only pod answers"):
        return
    await moved(lab, served, second)
    says = "the same flow reaches the pod that took over"
    await lab.serves("after", aims, Answered(by=second.nonces), says, within=lab.timing.joins)


async def note(lab: Lab, flows: Sequence[Aim]) -> None:
    """Look once where each flow goes, as part of a series of its own."""
    for aim in flows:
        await lab.probe(f"{origin(aim)} from {aim.probe.source_port}", aim.vantage, aim.probe)


def unmoved(lab: Lab, flows: Sequence[Aim], backends: Backends, says: str) -> None:
    """Each flow must have gone to one and the same pod every time it was looked at."""
    for aim in flows:
        name = f"{origin(aim)} from {aim.probe.source_port}"
        lab.expect("single", name, {"backends": sorted(backends.nonces)}, says)
