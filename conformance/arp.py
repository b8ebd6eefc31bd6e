"""Who answers for an address on the nodes' network: ARP frames, from a witness or from the tap. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.base import Frame

REQUEST, REPLY = 1, 2
_ARP = 0x0806


@dataclass(frozen=True)
class Arp:
    """One ARP frame for IPv4 on Ethernet."""

    at: float
    operation: int
    sender_mac: str
    sender: str
    target_mac: str
    target: str
    destination: str  # MAC it was sent to
    port: str = ""  # place whose cable it came in on, where that is known

    def gratuitous(self, address: str) -> bool:
        """True when it tells everybody who has ``address``, without being asked."""
        return self.sender == address == self.target and int(self.destination[:2], 16) & 1 == 1

    def answers(self, address: str) -> bool:
        """True for the answer to a question for ``address``."""
        return self.operation == REPLY and self.sender == address != self.target


def of_frame(frame: Frame) -> Arp | None:
    """The ARP frame in what the tap saw; None for anything else, whatever its bytes are."""
    data = frame.data
    if len(data) < 42 or int.from_bytes(data[12:14], "big") != _ARP or data[14:20] != b"\0\1\x08\0\6\4":
        return None
    return Arp(
        frame.at, int.from_bytes(data[20:22], "big"), _mac(data[22:28]), _ip(data[28:32]),
        _mac(data[32:38]), _ip(data[38:42]), _mac(data[:6]), frame.port,
    )


def of_witness(said: Mapping[str, Any]) -> list[Arp]:
    """The frames that ``asker.py`` printed. Raises ValueError when they are not its own."""
    try:
        return [Arp(float(row[0]), int(row[1]), *map(str, row[2:7])) for row in said["seen"]]
    except (KeyError, TypeError, IndexError) as problem:
        raise ValueError(f"not what the witness prints: {type(problem).__name__} {problem}") from problem


def answerers(frames: Iterable[Arp], address: str) -> dict[str, list[float]]:
    """When each MAC answered for ``address``; its order is that of their first answers."""
    found: dict[str, list[float]] = {}
    for one in frames:
        if one.answers(address):
            found.setdefault(one.sender_mac, []).append(one.at)
    return found


def announcements(frames: Iterable[Arp], address: str, mac: str) -> list[float]:
    """When ``mac`` told everybody that it has ``address``."""
    return [one.at for one in frames if one.gratuitous(address) and one.sender_mac == mac]


def unanswered(asked: Sequence[float], frames: Iterable[Arp], address: str, since: float) -> float:
    """Seconds from ``since`` until the first question after it was answered; infinite when none was.

    That is what a client without the address in its cache waits, besides its own pauses between questions.
    """
    first = min((at for at in asked if at >= since), default=float("inf"))
    answered = [one.at for one in frames if one.answers(address) and one.at >= first]
    return min(answered, default=float("inf")) - since


def _mac(data: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in data)


def _ip(data: bytes) -> str:
    return str(ipaddress.IPv4Address(data))
