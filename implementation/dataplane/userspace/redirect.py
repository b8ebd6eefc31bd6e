"""The rules that lead clients to our sockets: one nf_tables table a family, in which a Service is rows.

``doors`` (address . protocol . port) and ``ports`` (protocol . port, on addresses of this node) give the
port of
a socket of ours; ``short`` and ``short_ports`` are asked first for clients of this cluster. What is not
served
is refused or dropped here as well, since a client whose connection we had accepted would think it served.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

import msgspec

from implementation.dataplane.nftables import expressions as ex
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.kernel import Kernel, Refused, chunks
from implementation.dataplane.nftables.layout import from_pods
from implementation.dataplane.nftables.netlink import Kind, Message, Verdict
from implementation.dataplane.nftables.options import Options
from implementation.dataplane.nftables.shapes import Chain, Family
from implementation.dataplane.userspace.doors import Door, Plan, Where
from implementation.state.desired import Way

TABLE = "kp-userspace"
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
PREROUTING, INPUT, FORWARD, OUTPUT = range(4)
Rows = dict[tuple[str, bytes], bytes]  # (set, key) → value


def rows(plan: Plan, sockets: Mapping[Door, int], family: Family, addresses: Sequence[str] | None) -> Rows:
    """The rows of one family; ``sockets`` are the ports of the open doors, ``addresses`` those that answer
    on node ports (None: every one of this node)."""
    found: Rows = {}
    number = family.number
    for where, fate in plan.fates.items():
        if where.family == number:
            if isinstance(fate, Door):
                found[_row("doors", "ports", where)] = _port(sockets[fate])
            else:
                name = "refuse" if fate is Way.REJECT else "drop"
                found[_row(name, f"{name}_ports", where)] = b""
    for where, door in plan.short.items():
        if where.family == number:
            found[_row("short", "short_ports", where)] = _port(sockets[door])
    for where, networks in plan.ranges.items():
        if where.family == number:
            key = _key(where)
            found["ranged", key] = b""
            for one in map(ip_network, networks):
                network = one.network_address.packed + nl.word(one.prefixlen)
                found["allowed", key + network] = b""
    for door, port in sockets.items():
        if door.family == number:
            found["inner", _protocol(door.protocol) + _padded(port)] = b""
    mine = [a for a in addresses or () if (":" in a) == (number == 6)]
    found.update({("nodeport_ips", socket.inet_pton(family.af, a)): b"" for a in mine})
    return found


def _row(vips: str, ports: str, where: Where) -> tuple[str, bytes]:
    return (vips if where.address else ports, _key(where))


def _key(where: Where) -> bytes:
    address = b""
    if where.address:
        address = socket.inet_pton(socket.AF_INET6 if where.family == 6 else socket.AF_INET, where.address)
    return address + _protocol(where.protocol) + _padded(where.port)


def _protocol(name: str) -> bytes:
    return bytes((PROTOCOLS[name], 0, 0, 0))


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _padded(number: int) -> bytes:
    return _port(number) + bytes(2)


class _Set(msgspec.Struct, frozen=True):
    name: str
    key: tuple[Kind, ...]
    to_port: bool = False


def sets(family: Family) -> tuple[_Set, ...]:
    """Every set and map of the table."""
    port, ip = (Kind.PROTOCOL, Kind.PORT), family.kind
    vip = (ip, *port)
    return (
        _Set("doors", vip, to_port=True), _Set("short", vip, to_port=True), _Set("refuse", vip), _Set("drop",
        vip), _Set("ports", port, to_port=True), _Set("short_ports", port, to_port=True), _Set("refuse_ports",
        port),
        _Set("drop_ports", port), _Set("inner", port), _Set("nodeport_ips", (ip,)), _Set("ranged", vip),
        _Set("allowed", (*vip, ip, Kind.MARK)),
    )  # fmt: skip


def chains(family: Family, options: Options, lengths: Sequence[int], *, everywhere: bool) -> list[Chain]:
    """Every chain, those that others lead to first. ``lengths`` are the prefix lengths of source ranges;
    ``everywhere`` tells that node ports answer on every address of this node."""
    drop, refuse = ex.verdict(Verdict.DROP), ex.verdict(Verdict.GOTO, "refused")
    here = _here(family, everywhere=everywhere)
    new = ex.ct_state(0) + ex.bitwise(0, nl.word(8), nl.word(0)) + ex.compare(0, nl.UNEQUAL, nl.word(0))
    checked = ("new connections: is it served here?", new + ex.verdict(Verdict.JUMP, "check"))
    ranged = ("new connections: may the source?", new + ex.verdict(Verdict.JUMP, "sources"))
    redirected = ex.ct_status(0) + ex.bitwise(0, nl.word(0x20), nl.word(0))
    inner = redirected + ex.compare(0, nl.EQUAL, nl.word(0)) + family.port(0) + ex.lookup("inner", 0)
    return [
        Chain("refused", _refusals(family, options)),
        Chain("check", (
            ("@refuse", family.key(0) + ex.lookup("refuse", 0) + refuse),
            ("@drop", family.key(0) + ex.lookup("drop", 0) + drop),
            ("@refuse_ports", here + family.port(0) + ex.lookup("refuse_ports", 0) + refuse),
            ("@drop_ports", here + family.port(0) + ex.lookup("drop_ports", 0) + drop),
        )),
        Chain("sources", _sources(family, lengths)),
        Chain("short", tuple(_redirects(family, here, "short", "short_ports"))),
        Chain("services", tuple(_redirects(family, here, "doors", "ports"))),
        Chain("filter-prerouting", (ranged,), (PREROUTING, -110, "filter")),
        Chain("filter-output-before", (ranged,), (OUTPUT, -110, "filter")),
        Chain("filter-input", (checked, ("our sockets, asked past the rules", new + inner + refuse)),
              (INPUT, 0, "filter")),
        Chain("filter-forward", (checked,), (FORWARD, 0, "filter")),
        Chain("filter-output", (checked,), (OUTPUT, 0, "filter")),
        Chain("nat-prerouting", _incoming(family, options), (PREROUTING, -100, "nat")),
        Chain("nat-output", _outgoing(options), (OUTPUT, -100, "nat")),
    ]  # fmt: skip


def _here(family: Family, *, everywhere: bool) -> bytes:
    if everywhere:
        return ex.address_type(0, source=False) + ex.compare(0, nl.EQUAL, nl.word(nl.LOCAL))
    return family.destination(0) + ex.lookup("nodeport_ips", 0)


def _refusals(family: Family, options: Options) -> tuple[tuple[str, bytes], ...]:
    tcp = ex.meta(0, nl.META_L4PROTO) + ex.compare(0, nl.EQUAL, bytes((socket.IPPROTO_TCP,)))
    by_reset = ("refuse TCP by a reset", tcp + ex.reject(family.number, reset=True))
    by_icmp = ("refuse", ex.reject(family.number, reset=False))
    return (by_reset, by_icmp) if options.reset_tcp else (by_icmp,)


def _sources(family: Family, lengths: Sequence[int]) -> tuple[tuple[str, bytes], ...]:
    """Let sources of allowed networks pass, drop others; an address without ranges is open to everybody."""
    words = family.words
    ranged = family.key(0) + ex.lookup("ranged", 0)
    found = []
    for length in lengths:
        ones = ((1 << length) - 1) << (family.size * 8 - length)
        mask = ex.bitwise(words + 2, ones.to_bytes(family.size, "big"), bytes(family.size))
        asked = ex.immediate(2 * words + 2, nl.word(length)) + ex.lookup("allowed", 0)
        body = family.key(0) + family.source(words + 2) + mask + asked + ex.verdict(Verdict.RETURN)
        found.append((f"source network of {length} bits", body))
    return (*found, ("source not allowed", ranged + ex.verdict(Verdict.DROP)))


def _redirects(family: Family, here: bytes, vips: str, ports: str) -> list[tuple[str, bytes]]:
    return [
        (f"@{vips}", family.key(0) + ex.lookup(vips, 0, 0) + _redirect()),
        (f"@{ports}", here + family.port(0) + ex.lookup(ports, 0, 0) + _redirect()),
    ]


def _redirect() -> bytes:
    """Lead the connection to this host, to the port in the first register; ends the rule."""
    return nl.nest(1, nl.text(1, "redir"), nl.nest(2, nl.number(1, nl.register(0))))


def _incoming(family: Family, options: Options) -> tuple[tuple[str, bytes], ...]:
    pods = from_pods(family, options, nl.EQUAL)
    cut = (("short cut for pods", pods + ex.verdict(Verdict.JUMP, "short")),) if pods else ()
    return (*cut, ("to a Service?", ex.verdict(Verdict.JUMP, "services")))


def _outgoing(options: Options) -> tuple[tuple[str, bytes], ...]:
    mark, none = nl.word(options.mark), nl.word(0)
    ours = ex.meta(0, nl.META_MARK) + ex.bitwise(0, mark, none) + ex.compare(0, nl.UNEQUAL, none)
    return (
        ("our own connections to endpoints", ours + ex.verdict(Verdict.ACCEPT)),
        ("short cut for this node", ex.verdict(Verdict.JUMP, "short")),
        ("to a Service?", ex.verdict(Verdict.JUMP, "services")),
    )


def there(kernel: Kernel, family: Family) -> bool:
    """True when the kernel has our table. Raises DataplaneError."""
    names = (nl.fields(body).get(1, b"") for body in kernel.dump(Message.GETTABLE, family.af))
    return TABLE in map(nl.string, names)


def udp_frontends(kernel: Kernel, family: Family) -> frozenset[tuple[str, int]]:
    """Where UDP clients can send to by the table in the kernel; an empty address is any of this node's.
    Raises DataplaneError."""
    found = set()
    for name, size in (("doors", family.size), ("ports", 0)) if there(kernel, family) else ():
        for body in kernel.dump(Message.GETSETELEM, family.af, nl.text(2, name), table=TABLE):
            for one in nl.elements(body):
                if one.key[size] == socket.IPPROTO_UDP:
                    address = socket.inet_ntop(family.af, one.key[:size]) if size else ""
                    found.add((address, int.from_bytes(one.key[size + 4 : size + 6], "big")))
    return frozenset(found)


class Table:
    """The table of one family: what was written, and the transactions."""

    def __init__(self, kernel: Kernel, family: Family, options: Options) -> None:
        self.kernel, self.family, self.options = kernel, family, options
        self.known = False
        self._rows: Rows = {}
        self._shape: tuple[tuple[int, ...], bool] = ((), True)

    def write(self, wanted: Rows, *, everywhere: bool) -> int:
        """Bring these rows into force; gives how many were written. Raises DataplaneError."""
        lengths = sorted({nl.unword(key[-4:]) for name, key in wanted if name == "allowed"}, reverse=True)
        shape = (tuple(lengths), everywhere)
        known, self.known = (
            self.known and shape == self._shape,
            False,
        )  # unknown until the kernel has said yes
        before = self._rows if known else {}
        units = [] if known else [self._frame(shape)]
        gone = [row for row in before if row not in wanted]
        come = [row for row, value in wanted.items() if before.get(row) != value]
        units += [self._element(row, before.get(row), wanted[row]) for row in come]
        units += [self._element(row, before[row], None) for row in gone]
        for part in chunks(units, self.kernel.most):
            self.kernel.commit(part)
        self._rows, self._shape, self.known = wanted, shape, True
        return len(come) + len(gone)

    def remove(self) -> None:
        """Delete the table; one that is not there is no error. Raises DataplaneError."""
        self.known = False
        try:
            self.kernel.commit([nl.message(Message.DELTABLE, self.family.af, table=TABLE)])
        except Refused as error:
            if error.number != errno.ENOENT:
                raise

    def _frame(self, shape: tuple[tuple[int, ...], bool]) -> list[bytes]:
        """An empty table with sets and chains in the place of whatever is there."""
        af = self.family.af
        every = chains(self.family, self.options, shape[0], everywhere=shape[1])
        return [
            nl.message(Message.NEWTABLE, af, table=TABLE, flags=nl.CREATE),
            nl.message(Message.DELTABLE, af, table=TABLE),
            nl.message(Message.NEWTABLE, af, table=TABLE, flags=nl.CREATE),
            *(self._set(one, at) for at, one in enumerate(sets(self.family), 1)),
            *(self._chain(one) for one in every),
            *(self._rule(one, said, body) for one in every for said, body in one.rules),
        ]

    def _set(self, one: _Set, identity: int) -> bytes:
        length = sum(16 if kind is Kind.IPV6 else 4 for kind in one.key)
        parts = [nl.text(2, one.name), nl.number(3, nl.IS_MAP if one.to_port else 0)]
        parts += [nl.number(4, nl.concatenated(*one.key)), nl.number(5, length)]
        if one.to_port:
            parts += [nl.number(6, Kind.PORT), nl.number(7, 2)]
        return nl.message(
            Message.NEWSET, self.family.af, *parts, nl.number(10, identity), table=TABLE, flags=nl.CREATE
        )

    def _chain(self, one: Chain) -> bytes:
        base = nl.hook(*one.hook) if one.hook else b""
        name = nl.text(3, one.name)
        return nl.message(Message.NEWCHAIN, self.family.af, name, base, table=TABLE, flags=nl.CREATE)

    def _rule(self, one: Chain, said: str, body: bytes) -> bytes:
        parts = (nl.text(2, one.name), nl.nest(4, body), nl.attribute(7, nl.comment(said)))
        return nl.message(Message.NEWRULE, self.family.af, *parts, table=TABLE, flags=nl.CREATE | nl.APPEND)

    def _element(self, row: tuple[str, bytes], old: bytes | None, new: bytes | None) -> list[bytes]:
        """The messages that change one row; they must stay together."""
        name, key = row
        found = []
        if old is not None:
            head, _ = nl.element_frame(len(key), 0)
            found += nl.lists(Message.DELSETELEM, self.family.af, TABLE, name, [head + key])
        if new is not None:
            plain = nl.nest(1, nl.value(1, key), nl.value(2, new) if new else b"")
            found += nl.lists(Message.NEWSETELEM, self.family.af, TABLE, name, [plain])
        return found
