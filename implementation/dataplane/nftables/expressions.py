"""The steps of rules as bytes, one function each. Registers are counted from 0 in words of four bytes."""

from __future__ import annotations

from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.netlink import Attribute, Verdict


def _expression(name: str, *attributes: Attribute) -> Attribute:
    return nl.nest(1, nl.text(1, name), nl.nest(2, *attributes))


def payload(into: int, header: int, offset: int, length: int) -> Attribute:
    """Load bytes of the packet."""
    fields = (nl.register(into), header, offset, length)
    return _expression("payload", *(nl.number(kind, value) for kind, value in enumerate(fields, 1)))


def meta(into: int, key: int) -> Attribute:
    """Load something known about the packet (META_*)."""
    return _expression("meta", nl.number(1, nl.register(into)), nl.number(2, key))


def set_mark(source: int) -> Attribute:
    """Make a register's word the packet's mark."""
    return _expression("meta", nl.number(2, nl.META_MARK), nl.number(3, nl.register(source)))


def ct_state(into: int) -> Attribute:
    """Load the connection's state bits (8 is new)."""
    return _expression("ct", nl.number(1, nl.register(into)), nl.number(2, 0))


def ct_status(into: int) -> Attribute:
    """Load the connection's status bits (0x20 is: the destination was rewritten)."""
    return _expression("ct", nl.number(1, nl.register(into)), nl.number(2, 2))


def compare(source: int, operator: int, data: bytes) -> Attribute:
    """Go on only if the register is (un)equal to ``data``."""
    return _expression("cmp", nl.number(1, nl.register(source)), nl.number(2, operator), nl.value(3, data))


def bitwise(index: int, mask: bytes, flip: bytes) -> Attribute:
    """Registers from ``index`` on: and with ``mask``, then exclusive or with ``flip``."""
    at = nl.register(index)
    return _expression(
        "bitwise",
        nl.number(1, at),
        nl.number(2, at),
        nl.number(3, len(mask)),
        nl.value(4, mask),
        nl.value(5, flip),
    )


def immediate(into: int, data: bytes) -> Attribute:
    """Load a constant."""
    return _expression("immediate", nl.number(1, nl.register(into)), nl.value(2, data))


def verdict(code: Verdict, chain: str = "") -> Attribute:
    """End the rule with a verdict."""
    return _expression("immediate", nl.number(1, nl.VERDICT_REGISTER), nl.verdict(2, code, chain))


def lookup(name: str, key: int, into: int | None = None) -> Attribute:
    """Go on only if the key is in a set; from a map, load the value into registers from ``into`` on."""
    extra = b"" if into is None else nl.number(3, nl.register(into))
    return _expression("lookup", nl.text(1, name), nl.number(2, nl.register(key)), extra)


def verdict_of(name: str, key: int) -> Attribute:
    """End the rule with the verdict that a map has for the key."""
    return _expression(
        "lookup", nl.text(1, name), nl.number(2, nl.register(key)), nl.number(3, nl.VERDICT_REGISTER)
    )


def random(into: int, count: int, start: int = 0) -> Attribute:
    """Load a random number from ``start`` to ``start + count - 1``."""
    fields = (nl.register(into), count, 1, start)
    return _expression("numgen", *(nl.number(kind, value) for kind, value in enumerate(fields, 1)))


def dnat(family: int, address: int, port: int) -> Attribute:
    """Rewrite the destination to the address and port in registers; ends the rule. ``family`` is
    AF_INET(6)."""
    return _expression(
        "nat",
        nl.number(1, 1),
        nl.number(2, family),
        nl.number(3, nl.register(address)),
        nl.number(5, nl.register(port)),
    )


def masquerade() -> Attribute:
    """Rewrite the source to this node's address, with a port chosen at random."""
    return _expression("masq", nl.number(1, 0x10))


def address_type(into: int, *, source: bool) -> Attribute:
    """Load the type of the source or destination address (LOCAL for this host's own)."""
    return _expression(
        "fib", nl.number(1, nl.register(into)), nl.number(2, 3), nl.number(3, 1 if source else 2)
    )


def remember(name: str, key: int, data: int, milliseconds: int) -> Attribute:
    """Put key and value from registers into a map, or renew the time they stay."""
    fields = (
        nl.number(3, 1),
        nl.number(4, nl.register(key)),
        nl.number(5, nl.register(data)),
        nl.long(6, milliseconds),
    )
    return _expression("dynset", nl.text(1, name), *fields)


def forget(name: str, key: int, data: int) -> Attribute:
    """Take the key in a register out of a map; the kernel wants the value's register named too."""
    return _expression(
        "dynset",
        nl.text(1, name),
        nl.number(3, 2),
        nl.number(4, nl.register(key)),
        nl.number(5, nl.register(data)),
    )


def reject(family: int, *, reset: bool) -> Attribute:
    """Refuse the packet: a reset of TCP, or ICMP "port unreachable" of the family (4 or 6)."""
    if reset:
        return _expression("reject", nl.number(1, 1))
    return _expression("reject", nl.number(1, 0), nl.attribute(2, b"\4" if family == 6 else b"\3"))
