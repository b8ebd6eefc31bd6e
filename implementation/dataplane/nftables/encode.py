"""The messages that make tables, sets, chains and rules, and those of steps."""

from __future__ import annotations

from collections.abc import Sequence

from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.difference import Do
from implementation.dataplane.nftables.layout import TABLE, sets
from implementation.dataplane.nftables.names import DROP, REJECT
from implementation.dataplane.nftables.netlink import Kind, Message
from implementation.dataplane.nftables.shapes import Chain, Family, SetOf
from implementation.dataplane.nftables.tables import LEAD, NAMED


def fresh_table(family: Family, stamp: str) -> list[bytes]:
    """The messages that put an empty table with our sets in the place of whatever is there."""
    return [
        nl.message(Message.NEWTABLE, family.af, table=TABLE, flags=nl.CREATE),
        nl.message(Message.DELTABLE, family.af, table=TABLE),
        nl.message(
            Message.NEWTABLE, family.af, nl.attribute(6, nl.comment(stamp)), table=TABLE, flags=nl.CREATE
        ),
        *(set_message(family, one, at) for at, one in enumerate(sets(family), 1)),
    ]


def set_message(family: Family, which: SetOf, identity: int) -> bytes:
    """The message that makes a set."""
    flags = (nl.IS_MAP if which.value is not None else 0) | (
        nl.HAS_TIMEOUT | nl.DYNAMIC if which.milliseconds else 0
    )
    parts = [nl.text(2, which.name), nl.number(3, flags)]
    parts += [nl.number(4, nl.concatenated(*which.key)), nl.number(5, which.key_bytes)]
    if which.value is not None:
        kind = nl.concatenated(*which.value) if which.value else -256
        parts += [nl.number(6, kind), nl.number(7, which.value_bytes)]
    if which.most:
        parts.append(nl.nest(9, nl.number(1, which.most)))
    parts.append(nl.number(10, identity))
    if which.milliseconds:
        parts.append(nl.long(11, which.milliseconds))
    host_order = b"\0\4" + nl.word(1) if which.key == (Kind.MARK,) else b""
    parts.append(nl.attribute(13, host_order + nl.comment(which.said, 7)))
    return nl.message(nl.Message.NEWSET, family.af, *parts, table=TABLE, flags=nl.CREATE)


def chain_message(family: Family, chain: Chain) -> bytes:
    """The message that makes a chain; nothing happens where it is there already."""
    base = nl.hook(*chain.hook) if chain.hook else b""
    return nl.message(
        nl.Message.NEWCHAIN, family.af, nl.text(3, chain.name), base, table=TABLE, flags=nl.CREATE
    )


def rule_messages(family: Family, chain: Chain) -> list[bytes]:
    """The messages that append each rule of a chain."""
    return [
        nl.message(
            nl.Message.NEWRULE,
            family.af,
            nl.text(2, chain.name),
            nl.nest(4, body),
            nl.attribute(7, nl.comment(said)),
            table=TABLE,
            flags=nl.CREATE | nl.APPEND,
        )
        for said, body in chain.rules
    ]


def step(family: Family, name: str, do: Do, rows: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """One step's rows as messages."""
    found: list[bytes] = []
    if do is not Do.ADD:
        head, _ = nl.element_frame(len(rows[0][0]), 0)
        found += nl.lists(Message.DELSETELEM, family.af, TABLE, name, [head + key for key, _ in rows])
    if do is not Do.DELETE:
        encoded = named_elements(rows) if name in NAMED else plain_elements(rows)
        found += nl.lists(Message.NEWSETELEM, family.af, TABLE, name, encoded)
    return found


def plain_elements(rows: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Elements whose keys and values are all of one length; the quick way for most rows."""
    head, middle = nl.element_frame(len(rows[0][0]), len(rows[0][1]))
    return [head + key + middle + value for key, value in rows]


def named_elements(rows: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Elements that carry the Service's name, behind the two words of the value, as a comment."""
    found = []
    for key, value in rows:
        comment = nl.attribute(6, nl.comment(value[LEAD:].decode()))
        head, middle = nl.element_frame(len(key), LEAD, len(comment))
        found.append(head + key + middle + value[:LEAD] + comment)
    return found


def map_of(chain: str) -> str:
    """The map of verdicts that leads to a chain of this name."""
    return "gate" if chain.startswith("from_") else "fate" if chain in (REJECT, DROP) else "variant"
