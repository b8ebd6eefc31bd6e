"""ARP frames, the witness's words, and the switch's view of the probes beside the probes' own."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, strategies

from clusters.base import Frame
from conformance import arp, asker, tap
from conformance.evidence import Outcome

VIP, CLIENT = "192.168.2.200", "192.168.2.50"
ONE, TWO, ALL = "02:00:c0:a8:02:72", "02:00:c0:a8:02:73", "ff:ff:ff:ff:ff:ff"


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def arp_frame(
    at: float, operation: int, sender: str, ip: str, target: str, wanted: str, to: str = ALL,
) -> Frame:
    head = mac(to) + mac(sender) + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation)
    return Frame(at, "port", head + mac(sender) + packed(ip) + mac(target) + packed(wanted))


def udp_frame(at: float, source: tuple[str, int], target: tuple[str, int]) -> Frame:
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 17, 0) + packed(source[0]) + packed(target[0])
    return Frame(at, "port", bytes(12) + b"\x08\0" + ip + struct.pack("!HHHH", source[1], target[1], 20, 0))


def test_who_answers_and_who_tells_everybody() -> None:
    frames = [
        arp_frame(1.0, 1, ONE, CLIENT, "00:" * 5 + "00", VIP),
        arp_frame(1.1, 2, ONE, VIP, ONE, CLIENT, to=TWO),
        arp_frame(1.2, 2, TWO, VIP, ONE, CLIENT, to=ONE),
        arp_frame(2.0, 1, TWO, VIP, ALL, VIP),
        arp_frame(2.1, 2, TWO, VIP, TWO, VIP),
        arp_frame(2.2, 2, ONE, "192.168.2.9", ONE, CLIENT, to=TWO),
    ]
    seen = [one for one in map(arp.of_frame, frames) if one]
    assert arp.answerers(seen, VIP) == {ONE: [1.1], TWO: [1.2]}
    assert arp.announcements(seen, VIP, TWO) == [2.0, 2.1]
    assert arp.announcements(seen, VIP, ONE) == []
    assert arp.unanswered([1.0], seen, VIP, 0.5) == pytest.approx(0.6)
    assert arp.unanswered([1.0], seen, VIP, 1.5) == float("inf")


@given(strategies.binary(max_size=128))
def test_any_bytes_are_a_frame_or_none(data: bytes) -> None:
    for made in (data, data[:12] + b"\x08\x06" + data[14:], data[:12] + b"\x08\0" + data[14:]):
        arp.of_frame(Frame(0.0, "p", made))
        tap.datagram(Frame(0.0, "p", made))


def test_the_witness_prints_what_is_read_here() -> None:
    said: Any = {"own": "192.168.2.1", "asked": [1.0], "seen": [[1.1, 2, ONE, VIP, TWO, CLIENT, TWO]]}
    assert arp.answerers(arp.of_witness(said), VIP) == {ONE: [1.1]}
    for wrong in ({}, {"seen": [[1.0]]}, {"seen": [["x"] * 7]}, {"seen": 5}):
        with pytest.raises(ValueError):
            arp.of_witness(wrong)
    asked = arp.of_frame(Frame(0.0, "p", asker.question(mac(ONE), packed(CLIENT), packed(VIP))))
    assert asked is not None and (asked.operation, asked.sender, asked.target) == (1, CLIENT, VIP)


def probed(lost: range, *, deadline_ms: float = 1.0) -> tuple[list[Outcome], list[Frame]]:
    """200 probes every 5 ms and their frames; those in ``lost`` get no answer."""
    outcomes, frames = [], []
    for n in range(200):
        at, port, good = n * 0.005, 40000 + n, n not in lost
        outcomes.append(Outcome("answered" if good else "timeout", at=at, ms=1, source=f"{CLIENT}:{port}"))
        frames.append(udp_frame(100 + at + 0.0002, (CLIENT, port), (VIP, 80)))
        if good:
            frames.append(udp_frame(100 + at + deadline_ms / 1000, (VIP, 80), (CLIENT, port)))
    return outcomes, frames


def agreed(outcomes: list[Outcome], frames: list[Frame]) -> tap.Agreement:
    return tap.agreement(frames, outcomes, f"{VIP}:80", since=0.4, interval=0.005, offset=-100.0)


def test_the_switch_and_the_probes_see_the_same_outage() -> None:
    found = agreed(*probed(range(100, 150)))
    assert found.holds
    assert found.probes == pytest.approx(0.25) and found.wire == pytest.approx(0.25, abs=0.001)


def test_probes_that_claim_an_outage_the_switch_did_not_see_are_contradicted() -> None:
    outcomes, _ = probed(range(100, 150))
    _, frames = probed(range(0))
    assert not agreed(outcomes, frames).holds
    outcomes, frames = probed(range(0))[0], probed(range(100, 103))[1]
    assert not agreed(outcomes, frames).holds


def test_what_a_busy_machine_sends_late_is_no_contradiction_but_an_answer_that_came_is() -> None:
    """The first probe lost was due 40 ms before it left: by its own clock the outage is that much longer."""
    outcomes, frames = probed(range(100, 150))
    late = [Frame(frame.at + 0.04, frame.port, frame.data) if 100.5 < frame.at < 100.501 else frame
            for frame in frames]
    found = agreed(outcomes, late)
    assert found.lag == pytest.approx(0.04, abs=0.001) and found.holds
    assert not agreed(probed(range(100, 150))[0], probed(range(100, 120))[1]).holds


def test_an_answer_after_the_deadline_is_lost_and_so_is_a_probe_that_never_left() -> None:
    late = agreed(*probed(range(100, 101), deadline_ms=150))
    assert late.wire > 0.5
    outcomes, frames = probed(range(100, 150))
    gone = [frame for frame in frames if not 100.5 <= frame.at < 100.75]
    assert agreed(outcomes, gone).holds
