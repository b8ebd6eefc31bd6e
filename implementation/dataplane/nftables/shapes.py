"""What sets, chains and the two address families look like."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import msgspec

from implementation.dataplane.nftables import expressions as ex
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.netlink import Kind


class SetOf(msgspec.Struct, frozen=True):
    """A set or map: the kinds of its key's and value's fields (None: a set, empty: verdicts)."""

    name: str
    key: tuple[Kind, ...]
    value: tuple[Kind, ...] | None
    said: str
    most: int = 0
    milliseconds: int = 0

    @property
    def key_bytes(self) -> int:
        """Length of a key."""
        return width(self.key)

    @property
    def value_bytes(self) -> int:
        """Length of a value; 0 for sets and verdicts."""
        return width(self.value or ())


class Chain(msgspec.Struct, frozen=True):
    """A chain: its hook where it is a base chain (where, priority, sort), and comment and body of each
    rule."""

    name: str
    rules: tuple[tuple[str, bytes], ...]
    hook: tuple[int, int, str] | None = None


class Family(msgspec.Struct, frozen=True):
    """What differs between IPv4 and IPv6: where addresses stand in a packet and how long they are."""

    number: int

    @property
    def af(self) -> int:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if self.number == 6 else socket.AF_INET

    @property
    def size(self) -> int:
        """Bytes of an address."""
        return 16 if self.number == 6 else 4

    @property
    def words(self) -> int:
        """Registers an address takes."""
        return self.size // 4

    @property
    def kind(self) -> Kind:
        """nft's type of an address."""
        return Kind.IPV6 if self.number == 6 else Kind.IPV4

    def source(self, into: int) -> bytes:
        """Load the source address."""
        return ex.payload(into, nl.NETWORK_HEADER, 8 if self.number == 6 else 12, self.size)

    def destination(self, into: int) -> bytes:
        """Load the destination address."""
        return ex.payload(into, nl.NETWORK_HEADER, 24 if self.number == 6 else 16, self.size)

    def port(self, into: int) -> bytes:
        """Load protocol and destination port."""
        return ex.meta(into, nl.META_L4PROTO) + ex.payload(into + 1, nl.TRANSPORT_HEADER, 2, 2)

    def key(self, into: int) -> bytes:
        """Load destination address, protocol and port: the key of a Service port."""
        return self.destination(into) + self.port(into + self.words)


def width(kinds: Iterable[Kind]) -> int:
    """Bytes of a concatenation: each field fills words of four bytes."""
    return sum(16 if kind is Kind.IPV6 else 4 for kind in kinds)
