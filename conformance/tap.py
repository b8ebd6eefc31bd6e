"""The switch's own view of the probes: the same outage, from frames that nobody sent for it. Pure.

A probe is good when its datagram came in on the client's cable and an answer to the same source port came
back within the deadline. Clocks need no agreement but for the hour: pairs are found by port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clusters.base import Frame
from conformance import outages
from conformance.evidence import Outcome
from conformance.outages import Mark

DEADLINE = 0.1  # seconds; a later answer is lost to the client
NEAR = 0.2  # seconds between a probe's own time and its frame's, at most
_IPV4, _UDP = 0x0800, 17


@dataclass(frozen=True)
class Datagram:
    """Addresses and ports of one UDP datagram over IPv4."""

    at: float
    source: str
    target: str


def datagram(frame: Frame) -> Datagram | None:
    """The first part of a UDP datagram in a frame; None for anything else."""
    data = frame.data
    if len(data) < 42 or int.from_bytes(data[12:14], "big") != _IPV4 or data[23] != _UDP:
        return None
    begin = 14 + (data[14] & 15) * 4
    if data[14] >> 4 != 4 or int.from_bytes(data[20:22], "big") & 0x1FFF or len(data) < begin + 4:
        return None
    source, target = (int.from_bytes(data[begin + n:begin + n + 2], "big") for n in (0, 2))
    return Datagram(frame.at, f"{_ip(data[26:30])}:{source}", f"{_ip(data[30:34])}:{target}")


def on_the_wire(frames: Iterable[Frame], probes: Sequence[Outcome], target: str, offset: float) -> list[Mark]:
    """One mark for each probe at ``target`` (``ip:port``), as the switch saw it; ``offset`` maps its clock.

    A probe whose datagram never came in was lost before the switch, as when its client knew no way.
    """
    sent: dict[str, list[float]] = {}
    back: dict[str, list[float]] = {}
    for one in filter(None, map(datagram, frames)):
        if one.target == target:
            sent.setdefault(one.source, []).append(one.at + offset)
        elif one.source == target:
            back.setdefault(one.target, []).append(one.at + offset)
    marks = []
    for probe in probes:
        near = [at for at in sent.get(probe.source, ()) if abs(at - probe.at) < NEAR]
        at = min(near, key=lambda at: abs(at - probe.at), default=probe.at)
        good = bool(near) and any(at <= one <= at + DEADLINE for one in back.get(probe.source, ()))
        marks.append(Mark(at, good, probe.ms / 1000))
    return marks


@dataclass(frozen=True)
class Agreement:
    """The longest outage by the probes and by the switch, seconds.

    ``lag`` is how late the latest datagram came to the switch after its probe was due: what a busy machine
    takes between the two clocks, for either may have begun or ended the outage with that one.
    """

    probes: float
    wire: float
    interval: float
    lag: float = 0.0

    @property
    def holds(self) -> bool:
        """True when they differ by one interval at most, the lag, and a millisecond for two ways to take a
        time.
        """
        return abs(self.probes - self.wire) <= self.interval + self.lag + 0.001


def agreement(
    frames: Iterable[Frame], probes: Sequence[Outcome], target: str, *, since: float, interval: float,
    offset: float,
) -> Agreement:
    """Compare what the probes lost after ``since`` with what the switch saw of the same probes."""
    own = [Mark(one.at, one.kind == "answered", one.ms / 1000) for one in probes]
    seen = on_the_wire(frames, probes, target, offset)
    lag = max((mark.at - one.at for mark, one in zip(seen, probes, strict=True)), default=0.0)
    return Agreement(_longest(own, since), _longest(seen, since), interval, max(0.0, lag))


def _longest(marks: Sequence[Mark], since: float) -> float:
    longest = outages.measure(marks, since).longest
    return longest.outage if longest else 0.0


def _ip(data: bytes) -> str:
    return str(ipaddress.IPv4Address(data))
