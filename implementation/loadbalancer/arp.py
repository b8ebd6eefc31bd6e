"""ARP frames (RFC 826) and announcements (RFC 5227), as bytes. Pure; the parser is total.

An announcement goes out as a request and as a reply, for some clients heed only one of them; the reply's
target MAC is the sender's own, which Linux takes even within the second in which it otherwise holds on to
an entry.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import msgspec

ETHERTYPE = 0x0806
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6
ANYBODY = bytes(6)
SHORTEST_FRAME = 60  # without checksum; shorter ones are padded, as real network cards demand
# Seconds after a takeover: early ones dense, for a lost broadcast costs a client the time until the next.
SCHEDULE = (0.0, 0.05, 0.15, 0.4, 1.0, 2.0, 5.0)
REFRESH = 45.0  # then so often: a switch forgets an idle address after 300 s, some much sooner

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")


class ArpError(ValueError):
    """Bytes that are no ARP frame for IPv4 over Ethernet; the text says why."""


class Arp(msgspec.Struct, frozen=True):
    """One ARP frame. ``destination`` and ``source`` are the Ethernet header's."""

    destination: bytes
    source: bytes
    operation: int
    sender_mac: bytes
    sender: str
    target_mac: bytes
    target: str


def parse(frame: bytes) -> Arp:
    """The ARP frame in these bytes (Ethernet header first, padding ignored); ArpError for all others."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        raise ArpError(f"{len(frame)} bytes; an ARP frame has at least {_ETHERNET.size + _ARP.size}")
    destination, source, ethertype = _ETHERNET.unpack_from(frame)
    hardware, protocol, hardware_size, protocol_size, operation, sha, spa, tha, tpa = _ARP.unpack_from(
        frame, _ETHERNET.size)
    if ethertype != ETHERTYPE or (hardware, protocol, hardware_size, protocol_size) != (1, 0x0800, 6, 4):
        raise ArpError("not ARP for IPv4 over Ethernet")
    if operation not in (REQUEST, REPLY):
        raise ArpError(f"operation {operation}; only request (1) and reply (2) are known")
    return Arp(destination, source, operation, sha, str(IPv4Address(spa)), tha, str(IPv4Address(tpa)))


def build(arp: Arp) -> bytes:
    """The bytes of a frame, padded."""
    frame = _ETHERNET.pack(arp.destination, arp.source, ETHERTYPE) + _ARP.pack(
        1, 0x0800, 6, 4, arp.operation, arp.sender_mac, IPv4Address(arp.sender).packed,
        arp.target_mac, IPv4Address(arp.target).packed,
    )
    return frame.ljust(SHORTEST_FRAME, b"\0")


def answer(request: Arp, mac: bytes) -> Arp:
    """The reply to a who-has: its target is at ``mac``."""
    return Arp(request.sender_mac, mac, REPLY, mac, request.target, request.sender_mac, request.sender)


def who_has(target: str, sender: str, mac: bytes, to: bytes = BROADCAST) -> Arp:
    """The question where ``target`` is; to a known MAC as unicast."""
    return Arp(to, mac, REQUEST, mac, sender, ANYBODY, target)


def announcements(address: str, mac: bytes) -> tuple[Arp, Arp]:
    """The two frames that tell everybody: ``address`` is at ``mac``."""
    return (
        Arp(BROADCAST, mac, REQUEST, mac, address, ANYBODY, address),
        Arp(BROADCAST, mac, REPLY, mac, address, mac, address),
    )


class Bursts:
    """When to announce each address: densely after it became ours, then as a refresh. Pure; time is handed
    in.
    """

    def __init__(self) -> None:
        self._next: dict[str, tuple[float, float, int]] = {}  # address -> next time, start, step

    def start(self, address: str, now: float) -> None:
        """Announce from now on, densely at first (again, if it was announced already)."""
        self._next[address] = (now, now, 0)

    def stop(self, address: str) -> None:
        """Announce this address no more."""
        self._next.pop(address, None)

    def take_due(self, now: float) -> list[str]:
        """The addresses to announce now."""
        due = [address for address, (at, _, _) in self._next.items() if at <= now]
        for address in due:
            _, start, step = self._next[address]
            step += 1
            following = start + SCHEDULE[step] if step < len(SCHEDULE) else now + REFRESH
            self._next[address] = (max(following, now), start, step)
        return due

    def wake(self) -> float | None:
        """When the next announcement is due, or None."""
        return min((at for at, _, _ in self._next.values()), default=None)
