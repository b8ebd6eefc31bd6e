"""What speakers tell each other: the bytes of a heartbeat, and which of them to believe. Pure; the parser
is total.

A message is signed (HMAC-SHA256). It names its sender, the sender's incarnation (a number drawn at its
start), and the receiver's incarnation as the sender knows it. A message counts as a sign of life only when
it names *our* present incarnation, comes from no earlier incarnation of the sender, and its sequence was
not there before. So bytes recorded earlier prove nothing: neither to a speaker that remembers them nor to
one that has just started.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

import msgspec

PORT = 7946  # MetalLB's membership port
PART_CLAIMS = 50  # claims in one datagram, which so stays below 1,400 bytes
NEVER = 0xFFFFFFFF  # age in a TELL: not heard at all

_MAGIC = b"LBH1"
_HEAD = struct.Struct("!4sBBBBQQQ")
_CLAIM = struct.Struct("!16sI")
_AGE = struct.Struct("!I")
_SIGNATURE = 32
_LONGEST_NAME = 253
_WINDOW_SIZE = 64  # sequences by which a datagram may be late
_WINDOW = (1 << _WINDOW_SIZE) - 1


class HeartbeatError(ValueError):
    """A datagram that is no message of ours; the text says why."""


class Kind(IntEnum):
    """What a message is for."""

    BEAT = 1  # "I live, and these addresses are mine"
    ASK = 2  # "when did you last hear from SUBJECT?"
    TELL = 3  # the answer


class Message(msgspec.Struct, frozen=True):
    """One message. ``claims`` (address, term) is part ``part`` of ``parts``; ``age`` is in milliseconds."""

    kind: Kind
    sender: str
    incarnation: int
    echo: int
    sequence: int
    ready: bool = True
    leaving: bool = False
    part: int = 0
    parts: int = 1
    claims: tuple[tuple[str, int], ...] = ()
    subject: str = ""
    age: int = NEVER


def encode(message: Message, key: bytes) -> bytes:
    """The signed bytes of a message."""
    flags = message.ready | message.leaving << 1
    head = _HEAD.pack(_MAGIC, message.kind, flags, message.part, message.parts,
                      message.incarnation, message.echo, message.sequence)
    body = head + _text(message.sender)
    if message.kind is Kind.BEAT:
        body += bytes([len(message.claims)])
        body += b"".join(_CLAIM.pack(_packed(address), term) for address, term in message.claims)
    else:
        body += _text(message.subject)
    if message.kind is Kind.TELL:
        body += _AGE.pack(message.age)
    return body + hmac.digest(key, body, "sha256")


def decode(datagram: bytes, keys: Sequence[bytes]) -> Message:
    """The message in a datagram signed with one of ``keys``; HeartbeatError for all other bytes."""
    body, signature = datagram[:-_SIGNATURE], datagram[-_SIGNATURE:]
    if len(body) < _HEAD.size:
        raise HeartbeatError("too short")
    if not any(hmac.compare_digest(hmac.digest(key, body, "sha256"), signature) for key in keys):
        raise HeartbeatError("signed with a key we do not have")
    magic, kind, flags, part, parts, incarnation, echo, sequence = _HEAD.unpack_from(body)
    if magic != _MAGIC or kind not in tuple(Kind):
        raise HeartbeatError("of an unknown version or kind")
    if part >= parts:
        raise HeartbeatError(f"part {part} of {parts}")
    rest = _Rest(body[_HEAD.size:])
    sender = rest.text()
    claims: tuple[tuple[str, int], ...] = ()
    subject, age = "", NEVER
    if kind == Kind.BEAT:
        claims = tuple(rest.claim() for _ in range(rest.take(1)[0]))
    else:
        subject = rest.text()
    if kind == Kind.TELL:
        (age,) = _AGE.unpack(rest.take(_AGE.size))
    if rest.left:
        raise HeartbeatError("longer than it says")
    return Message(Kind(kind), sender, incarnation, echo, sequence, bool(flags & 1), bool(flags & 2),
                   part, parts, claims, subject, age)


class _Rest:
    """The bytes not read yet."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise HeartbeatError("cut short")
        self._at += count
        return self._data[self._at - count:self._at]

    def text(self) -> str:
        try:
            return self.take(self.take(1)[0]).decode("ascii")
        except UnicodeDecodeError:
            raise HeartbeatError("a name that is not ASCII") from None

    def claim(self) -> tuple[str, int]:
        packed, term = _CLAIM.unpack(self.take(_CLAIM.size))
        found = IPv6Address(packed)
        return str(found.ipv4_mapped or found), term


def _text(name: str) -> bytes:
    raw = name.encode("ascii")
    if len(raw) > _LONGEST_NAME:
        raise HeartbeatError(f"a name of {len(raw)} bytes; {_LONGEST_NAME} are allowed")
    return bytes([len(raw)]) + raw


def _packed(address: str) -> bytes:
    found = ip_address(address)
    return bytes(10) + b"\xff\xff" + found.packed if found.version == 4 else found.packed


def part_of(address: str, parts: int) -> int:
    """The part of a beat in which the claim of this address stands; the same on every node."""
    return _first_byte(address) % parts


@lru_cache(maxsize=65536)
def _first_byte(address: str) -> int:
    return sha256(address.encode()).digest()[0]


class Trust:
    """What we know of one peer's incarnations: decides whether a message is a fresh sign of life."""

    def __init__(self) -> None:
        self.incarnation = 0  # the peer's present one; 0 until the first message that names ours
        self._highest = 0
        self._seen = 0  # bit n: sequence highest - n was taken
        self._past: set[int] = set()

    def fresh(self, message: Message, ours: int) -> bool:
        """Whether to believe this message; remembers it if so."""
        if message.echo != ours or message.incarnation in self._past:
            return False
        if message.incarnation != self.incarnation:
            if self.incarnation:
                self._past.add(self.incarnation)
            self.incarnation, self._highest, self._seen = message.incarnation, message.sequence, 1
            return True
        return self._first_time(message.sequence)

    def _first_time(self, sequence: int) -> bool:
        """Whether this sequence was not taken before; datagrams may overtake each other within a small
        window.
        """
        if sequence > self._highest:
            ahead = sequence - self._highest
            self._seen = (self._seen << ahead | 1) & _WINDOW if ahead < _WINDOW_SIZE else 1
            self._highest = sequence
            return True
        behind = self._highest - sequence
        if behind >= _WINDOW_SIZE or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True
