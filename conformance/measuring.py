"""Probes that keep their schedule while something is done to the cluster, and a witness that listens besides.

Everything is sent by agents, which fire at fixed instants whatever happens; here is only when to begin, when
to act, and what is written down about it. Times are seconds since the run began; a fault's own time comes
from the cluster, on this machine's CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from clusters.base import CanSnapshot, CanTap, ClusterError, Frame
from conformance import arp, asker, outages, tap
from conformance.arp import Arp
from conformance.evidence import Outcome
from conformance.expectations import Answered, Expectation
from conformance.lab import Lab
from conformance.outages import Mark
from conformance.probes import Probe
from conformance.rig import WITNESS
from conformance.schedule import Schedule
from conformance.timing import Aim

CONTROL = 0.8  # seconds before the fault, in which nothing may be lost
UDP_INTERVAL, UDP_DEADLINE = 0.005, 0.1
TCP_INTERVAL, TCP_DEADLINE = 0.05, 0.25  # abandoned then: the kernel's own retries would round it to a second
ASK_INTERVAL = 0.05
SETTLED = 40.0  # seconds for one node alone to answer; after a heal two of MetalLB's do for half a minute
_INTERFACE = "eth0"


@dataclass(frozen=True)
class Witnessed:
    """What the witness asked and heard about one address; times are of this run."""

    own: str
    asked: tuple[float, ...]
    frames: tuple[Arp, ...]


@dataclass(frozen=True)
class Measured:
    """One window around one act."""

    acted: float  # when the act was done
    series: Mapping[str, tuple[Aim, tuple[Outcome, ...]]]
    witnessed: Witnessed | None
    frames: tuple[Frame, ...]  # of the tap, where there is one

    @property
    def last(self) -> float:
        """When the last attempt was sent."""
        return max(one.at for _, outcomes in self.series.values() for one in outcomes)


def udp(target: tuple[str, int]) -> Probe:
    """A datagram every 5 ms, each from a fresh port, lost when no answer came within 100 ms."""
    return Probe("udp", target, interval=UDP_INTERVAL, timeout=UDP_DEADLINE)


def tcp(target: tuple[str, int]) -> Probe:
    """A new connection every 50 ms, abandoned after 250 ms."""
    return Probe("tcp", target, interval=TCP_INTERVAL, timeout=TCP_DEADLINE)


async def around(
    lab: Lab, aims: Mapping[str, Aim], act: Callable[[], Awaitable[float]], *, after: float,
    control: float = CONTROL, about: str = "",
) -> Measured:
    """Run every aim for ``control`` seconds, then ``act``, then on for ``after`` seconds more.

    ``act`` gives when it was done, on CLOCK_MONOTONIC. ``about`` is the address to ask for by ARP meanwhile.
    Nothing is written down: ``record`` does that, for each requirement that reads it.
    """
    window = control + lab.rig.cluster.act_seconds + after
    compared = any(aim.probe.transport == "udp" for aim in aims.values())
    tapping = lab.rig.cluster if compared and isinstance(lab.rig.cluster, CanTap) else None
    if tapping is not None:
        await tapping.tap_start()
    async with asyncio.TaskGroup() as group:
        probing = {name: group.create_task(_run(aim, window)) for name, aim in aims.items()}
        asking = group.create_task(witness(lab, about, window)) if about else None
        await asyncio.sleep(control)  # the control is this time itself
        acted = await act() - lab.evidence.began
    frames = await tapping.tap_stop() if tapping is not None else []
    series = {name: (aims[name], task.result()) for name, task in probing.items()}
    return Measured(acted, series, asking.result() if asking else None, tuple(frames))


async def _run(aim: Aim, window: float) -> tuple[Outcome, ...]:
    assert aim.probe.interval is not None, "an open-loop series has an interval"
    count = Schedule(1 / aim.probe.interval, window).count
    return (await aim.vantage.probe(replace(aim.probe, count=count))).outcomes


async def witness(lab: Lab, address: str, seconds: float) -> Witnessed:
    """Have the witness ask for ``address`` 20 times a second and listen. Raises ClusterError."""
    argv = ["python3", "-c", _program(), _INTERFACE, address, f"{seconds}", f"{ASK_INTERVAL}"]
    cluster = cast(CanSnapshot, lab.rig.cluster)
    status, output, said = await cluster.run_on(WITNESS, argv, timeout=seconds + 20)
    if status != 0:
        raise ClusterError(f"{WITNESS}: the witness ended with status {status}: {said.strip()[-300:]}")
    told, began = json.loads(output), lab.evidence.began
    frames = tuple(replace(one, at=one.at - began) for one in arp.of_witness(told))
    return Witnessed(str(told["own"]), tuple(at - began for at in told["asked"]), frames)


def _program() -> str:
    return Path(asker.__file__).read_text(encoding="utf-8")


async def announcer(lab: Lab, address: str) -> tuple[str, str]:
    """Node and MAC that answer for ``address`` now; empty where none or several do."""
    at_nodes = await asyncio.gather(*[witness(lab, node.addresses[0], 0.2) for node in lab.nodes])
    seen = await witness(lab, address, 0.3)
    macs = list(arp.answerers(seen.frames, address))
    if len(macs) != 1:
        return "", ""
    for node, heard in zip(lab.nodes, at_nodes, strict=True):
        if macs[0] in arp.answerers(heard.frames, node.addresses[0]):
            return node.name, macs[0]
    return "", macs[0]


async def sole_announcer(lab: Lab, address: str) -> tuple[str, str]:
    """The same, as soon as it is one alone: nodes that have lost each other may both answer for a while."""
    since = lab.now()
    while not (found := await announcer(lab, address))[1] and lab.now() - since < SETTLED:
        pass  # asking takes its time
    return found


def record(
    lab: Lab, measured: Measured, text: str, names: Sequence[str] = (), *, prefix: str = "",
) -> None:
    """Write the fault and the series ``names`` (all when none is named) into this requirement's evidence."""
    lab.evidence.fault(lab.id, text, round(measured.acted, 6))
    for name, (aim, outcomes) in measured.series.items():
        if not names or name in names:
            lab.probed(prefix + name, aim, outcomes)


def noise(measured: Measured, name: str) -> float:
    """What a series may be off by, without any fault: its longest gap before the act, or its standstill."""
    marks = [Mark(one.at, one.kind == "answered", one.ms / 1000) for one in measured.series[name][1]]
    return outages.measure(marks, measured.acted).noise


def outage(measured: Measured, name: str) -> float:
    """The longest outage of a series after the act: from the first attempt lost to the first good one."""
    marks = [Mark(one.at, one.kind == "answered", one.ms / 1000) for one in measured.series[name][1]]
    longest = outages.measure(marks, measured.acted).longest
    return round(longest.outage, 6) if longest else 0.0


def newcomer(measured: Measured, address: str) -> float | None:
    """Seconds after the act until who asks for the address by ARP is answered, infinite when nobody does.

    None when nobody asked.
    """
    heard = measured.witnessed
    return None if heard is None else arp.unanswered(heard.asked, heard.frames, address, measured.acted)


def expect_gap(
    lab: Lab, measured: Measured, name: str, bound: float, says: str, acceptable: Expectation | None = None,
    *, prefix: str = "",
) -> None:
    """Expect no gap above ``bound`` in the recorded series ``name``, its control quiet.

    Where the switch was tapped it must have seen the same outage within one interval: else nothing is
    expected and the requirement is the suite's own error.
    """
    interval = measured.series[name][0].probe.interval or 0.0
    if not _agrees(lab, measured, name, prefix + name):
        return
    params = {
        "acceptable": (acceptable or Answered()).to_json(), "bound": bound, "since": measured.acted,
        "interval": interval,
    }
    lab.expect("longest_gap", prefix + name, params, says)


def _agrees(lab: Lab, measured: Measured, name: str, shown: str) -> bool:
    """True unless the tap contradicts the probes; only datagrams are compared."""
    aim, outcomes = measured.series[name]
    if not measured.frames or aim.probe.transport != "udp":
        return True
    host, port = aim.probe.target
    seen = tap.agreement(
        measured.frames, outcomes, f"{host}:{port}", since=measured.acted,
        interval=aim.probe.interval or 0.0, offset=-lab.evidence.began,
    )
    lab.value(f"{shown}, on the wire", {
        "probes": round(seen.probes, 6), "switch": round(seen.wire, 6), "lag": round(seen.lag, 6)})
    if not seen.holds:
        lab.evidence.error(lab.id, (
            f"{shown}: the probes lost {seen.probes:.3f} s and the switch saw {seen.wire:.3f} s of the same; "
            f"they may differ by one interval and a lag of {seen.lag:.3f} s, so one of them is wrong"))
    return seen.holds
