"""What the kernel holds of our table."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

import msgspec

from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.kernel import Interrupted, Kernel, Refused
from implementation.dataplane.nftables.layout import ROWS_OF_SERVICES, TABLE
from implementation.dataplane.nftables.names import VERDICTS
from implementation.dataplane.nftables.netlink import Element, Message
from implementation.dataplane.nftables.shapes import Chain, Family
from implementation.dataplane.nftables.tables import Rows

ATTEMPTS = 20


class Found(msgspec.Struct):
    """Our table as it is: its comment, the comments of each chain's rules, all rows, the number of each
    variant's chain."""

    stamp: str
    chains: dict[str, list[str]]
    rows: Rows
    variants: dict[str, int]


def read(kernel: Kernel, family: Family) -> Found | None:
    """Our table of a family; None where there is none, or where a set of it is missing. Raises
    DataplaneError."""
    for _ in range(ATTEMPTS):
        try:
            return _read(kernel, family)
        except Interrupted:
            continue
        except Refused as error:
            if error.number != errno.ENOENT:
                raise
            return None
    raise Interrupted(f"nf_tables changed during each of {ATTEMPTS} attempts to read it")


def stamp(kernel: Kernel, family: Family) -> str | None:
    """The comment of our table, or None where there is none. Raises DataplaneError."""
    for body in kernel.dump(Message.GETTABLE, family.af):
        found = nl.fields(body)
        if nl.string(found.get(1, b"")) == TABLE:
            return nl.said(found.get(6, b""))
    return None


def _read(kernel: Kernel, family: Family) -> Found | None:
    told = stamp(kernel, family)
    if told is None:
        return None
    chains: dict[str, list[str]] = {}
    for body in kernel.dump(Message.GETCHAIN, family.af):
        found = nl.fields(body)
        if nl.string(found[1]) == TABLE:
            chains[nl.string(found[3])] = []
    for body in kernel.dump(Message.GETRULE, family.af, table=TABLE):
        found = nl.fields(body)
        if nl.string(found[1]) == TABLE:
            chains.setdefault(nl.string(found[2]), []).append(nl.said(found.get(7, b"")))
    rows = {
        (name, one.key): one.value + one.comment.encode()
        for name in ROWS_OF_SERVICES
        for one in elements(kernel, family, name)
    }
    variants = {one.chain: nl.unword(one.key) for name in VERDICTS for one in elements(kernel, family, name)}
    return Found(told, chains, rows, variants)


def elements(kernel: Kernel, family: Family, name: str) -> list[Element]:
    """The elements of one set. Raises DataplaneError."""
    dumped = kernel.dump(Message.GETSETELEM, family.af, nl.text(2, name), table=TABLE)
    return [one for body in dumped for one in nl.elements(body)]


def affinity_numbers(rows: Mapping[tuple[str, bytes], bytes]) -> list[int]:
    """The numbers of Service ports with affinity that these rows speak of."""
    ids = ("aff_ids", "aff_local_ids")
    return [nl.unword(value[4:]) for (name, _), value in rows.items() if name in ids]


def udp_frontends(family: Family, rows: Rows) -> frozenset[tuple[str, int]]:
    """Where UDP clients can send to by these rows; an empty address is any of this node's."""
    found = set()
    for name, key in rows:
        size = {"svc": family.size, "nodeports": 0}.get(name, -1)
        if size >= 0 and key[size] == socket.IPPROTO_UDP:
            address = socket.inet_ntop(family.af, key[:size]) if size else ""
            found.add((address, int.from_bytes(key[size + 4 : size + 6], "big")))
    return frozenset(found)


def differing(found: Mapping[str, list[str]], wanted: Mapping[str, Chain]) -> list[Chain]:
    """The chains that are missing or whose rules are not those wanted, by the comments of their rules."""
    return [
        chain for name, chain in wanted.items() if found.get(name) != [comment for comment, _ in chain.rules]
    ]
