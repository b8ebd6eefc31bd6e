"""The words of nf_tables as bytes: attributes, messages, and back. No socket is known here.

Numbers are those of the kernel's ``nf_tables.h``; every shape is pinned by golden bytes in the tests.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

Attribute = bytes


class Message(IntEnum):
    """Kinds of message (NFT_MSG_*)."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    NEWRULE = 6
    GETRULE = 7
    DELRULE = 8
    NEWSET = 9
    GETSET = 10
    DELSET = 11
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14
    NEWGEN = 15
    GETGEN = 16


class Verdict(IntEnum):
    """What becomes of a packet (NFT_*, NF_*)."""

    DROP = 0
    ACCEPT = 1
    JUMP = -3
    GOTO = -4
    RETURN = -5


class Kind(IntEnum):
    """nft's numbers of data types, which only say how a listing prints a field."""

    IPV4 = 7
    IPV6 = 8
    PROTOCOL = 12
    PORT = 13
    MARK = 19


SUBSYSTEM, BATCH_BEGIN, BATCH_END, ERROR, DONE = 10, 0x10, 0x11, 2, 3
REQUEST, ACK, DUMP, INTERRUPTED, EXCLUSIVE, CREATE, APPEND = 1, 4, 0x300, 0x10, 0x200, 0x400, 0x800
IS_MAP, HAS_TIMEOUT, DYNAMIC = 0x8, 0x10, 0x20
VERDICT_TYPE = 0xFFFFFF00
REGISTER_0, VERDICT_REGISTER = 8, 0
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
META_MARK, META_IIFNAME, META_L4PROTO = 3, 6, 16
EQUAL, UNEQUAL = 0, 1
LOCAL = 2  # RTN_LOCAL, what ``fib … type`` gives for an address of this host
NESTED, LIST_BYTES = 0x8000, 64_000  # a list's attribute holds at most 65,535 bytes
_header, _message = struct.Struct("=HH"), struct.Struct("=IHHIIBBH")
_u32be, _i32be, _u64be, _u32 = (
    struct.Struct(">I"),
    struct.Struct(">i"),
    struct.Struct(">Q"),
    struct.Struct("=I"),
)


def attribute(kind: int, data: bytes) -> Attribute:
    """One attribute, padded to four bytes."""
    return _header.pack(len(data) + 4, kind) + data + bytes(-len(data) & 3)


def nest(kind: int, *parts: Attribute) -> Attribute:
    """An attribute that holds others."""
    return attribute(kind | NESTED, b"".join(parts))


def number(kind: int, value: int) -> Attribute:
    """A number of 32 bits, in network order."""
    return attribute(kind, _i32be.pack(value) if value < 0 else _u32be.pack(value))


def long(kind: int, value: int) -> Attribute:
    """A number of 64 bits, in network order."""
    return attribute(kind, _u64be.pack(value))


def text(kind: int, value: str) -> Attribute:
    """A string with its closing zero."""
    return attribute(kind, value.encode() + b"\0")


def word(value: int) -> bytes:
    """A value as the kernel computes with it: 32 bits in the order of this machine."""
    return _u32.pack(value)


def unword(data: bytes) -> int:
    """The value that :func:`word` made these bytes of."""
    return int.from_bytes(data, sys.byteorder)


def register(index: int) -> int:
    """The kernel's number of register ``index``."""
    return REGISTER_0 + index


def concatenated(*kinds: Kind) -> int:
    """The type of a key or value made of these fields (six bits each)."""
    result = 0
    for kind in kinds:
        result = result << 6 | kind
    return result


def value(kind: int, data: bytes) -> Attribute:
    """An attribute that holds plain data."""
    return nest(kind, attribute(1, data))


def verdict(kind: int, code: Verdict, chain: str) -> Attribute:
    """An attribute that holds a verdict; ``chain`` may be empty."""
    return nest(kind, nest(2, number(1, code), text(2, chain) if chain else b""))


# --- messages ---


def message(
    kind: Message, family: int, *attributes: Attribute, flags: int = 0, table: str = "", sequence: int = 0
) -> bytes:
    """One message to nf_tables; ``family`` is AF_INET or AF_INET6."""
    body = (text(1, table) if table else b"") + b"".join(attributes)
    head = _message.pack(20 + len(body), SUBSYSTEM << 8 | kind, REQUEST | flags, sequence, 0, family, 0, 0)
    return head + body


def batch(kind: int, sequence: int = 0) -> bytes:
    """The message that begins or ends a transaction."""
    subsystem = int.from_bytes(bytes((0, SUBSYSTEM)), sys.byteorder)  # in network order
    return _message.pack(20, kind, REQUEST, sequence, 0, 0, 0, subsystem)


def numbered(one: bytes, sequence: int, flags: int = 0) -> bytes:
    """The message with a sequence number and further flags, by which an error names it."""
    changed = struct.unpack_from("=H", one, 6)[0] | flags
    return one[:6] + struct.pack("=HI", changed, sequence) + one[12:]


def comment(said: str, kind: int = 0) -> bytes:
    """User data that nft prints as a comment; at most 127 characters."""
    data = said.encode()[:127] + b"\0"
    return bytes((kind, len(data))) + data


def hook(where: int, priority: int, sort: str) -> Attribute:
    """What makes a chain a base chain, with policy accept: ``sort`` is filter or nat."""
    return nest(4, number(1, where), number(2, priority)) + number(5, Verdict.ACCEPT) + text(7, sort)


@functools.cache
def element_frame(key: int, data: int, extra: int = 0) -> tuple[bytes, bytes]:
    """What stands before key and data of an element with these lengths; data 0 for sets and deletions,
    ``extra`` bytes of attributes follow."""
    value = _header.pack(data + 8, 2 | NESTED) + _header.pack(data + 4, 1) if data else b""
    inside = 8 + key + len(value) + data
    head = _header.pack(inside + extra + 4, 1 | NESTED) + _header.pack(key + 8, 1 | NESTED)
    return head + _header.pack(key + 4, 1), value


def verdict_element(key: bytes, code: Verdict, chain: str) -> Attribute:
    """An element of a map to verdicts."""
    return nest(1, value(1, key), verdict(2, code, chain))


def lists(kind: Message, family: int, table: str, name: str, elements: Sequence[bytes]) -> list[bytes]:
    """The messages that carry these encoded elements of a set."""
    if not elements:
        return []
    step = max(1, LIST_BYTES // max(map(len, elements)))
    flags = CREATE if kind is Message.NEWSETELEM else 0
    return [
        message(kind, family, text(2, name), nest(3, *elements[at : at + step]), table=table, flags=flags)
        for at in range(0, len(elements), step)
    ]


# --- and back ---


class WireError(ValueError):
    """Bytes that are no message or attribute of netlink."""


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each attribute in ``data``. Raises WireError."""
    at, end = 0, len(data)
    while at + 4 <= end:
        length, kind = _header.unpack_from(data, at)
        if length < 4 or at + length > end:
            raise WireError(f"an attribute of {length} bytes where {end - at} are left")
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + 3 & ~3


def fields(data: bytes) -> dict[int, bytes]:
    """The attributes by kind; of several of one kind the last. Raises WireError."""
    return dict(attributes(data))


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Type, flags, sequence, port and body of each message in ``data``. Raises WireError."""
    at, end = 0, len(data)
    while at + 16 <= end:
        length, kind, flags, sequence, port = struct.unpack_from("=IHHII", data, at)
        if length < 16 or at + length > end:
            raise WireError(f"a message of {length} bytes where {end - at} are left")
        yield kind, flags, sequence, port, data[at + 16 : at + length]
        at += length + 3 & ~3


def told(one: bytes) -> str:
    """A message in words, for errors: its kind, and the set or chain it is about."""
    kind, body = Message(one[4]), fields(one[20:])
    about = body.get(3 if kind in (Message.NEWCHAIN, Message.DELCHAIN) else 2, b"")
    rule = said(body[7]) if kind is Message.NEWRULE and 7 in body else ""
    return " ".join(filter(None, (kind.name, string(about), rule)))


def string(data: bytes) -> str:
    """The text of an attribute."""
    return data.rstrip(b"\0").decode(errors="replace")


def said(userdata: bytes, kind: int = 0) -> str:
    """The comment in user data, or the empty text."""
    at = 0
    while at + 2 <= len(userdata):
        found, length = userdata[at], userdata[at + 1]
        if found == kind:
            return string(userdata[at + 2 : at + 2 + length])
        at += 2 + length
    return ""


class Element(NamedTuple):
    """One element of a set: ``chain`` is that of a verdict ("drop" for that verdict), ``left``
    milliseconds."""

    key: bytes
    value: bytes
    chain: str
    left: int
    comment: str


def elements(body: bytes) -> Iterator[Element]:
    """Each element in the answer to a dump of a set."""
    for _, one in attributes(fields(body).get(3, b"")):
        found = fields(one)
        key = fields(found.get(1, b"")).get(1, b"")
        data = fields(found[2]) if 2 in found else {}
        left = int.from_bytes(found[5], "big") if 5 in found else 0
        chain = _chain(data[2]) if 2 in data else ""
        yield Element(key, data.get(1, b""), chain, left, said(found.get(6, b"")))


def _chain(nested: bytes) -> str:
    found = fields(nested)
    return string(found[2]) if 2 in found else "drop"


def join(parts: Iterable[bytes]) -> bytes:
    """Expressions one after another: the body of a rule."""
    return b"".join(parts)
