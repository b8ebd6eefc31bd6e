"""What must be served → rows of the tables; pure.

A row is (set, key) → value. Keys and values are bytes as the kernel keeps them, so that a difference is a
comparison. Endpoints that stay keep their row: a change of one endpoint is a change of one row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from socket import inet_pton

import msgspec

from implementation.dataplane.nftables.names import (
    DROP,
    LOCAL_ROWS,
    REJECT,
    Fixed,
    Inside,
    Keeping,
    Outside,
    Pick,
    Sources,
    Target,
)
from implementation.dataplane.nftables.netlink import unword, word
from implementation.dataplane.nftables.shapes import Family
from implementation.state.desired import Endpoint, ServedPort, ServedService, Way

Row = tuple[str, bytes]
Rows = dict[Row, bytes]
SHARED = frozenset(("hairpin", "cluster_ips", "nodeport_ips"))  # a row may serve several Services
# rows that tell their Service's name
NAMED = frozenset(("svc", "nodeports", "noep", "noep_nodeports", "ranged"))
LEAD = 8  # bytes of their value; behind it stands the name
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_port = struct.Struct(">H2x").pack
_PAD = bytes(4)


class Frontend(msgspec.Struct, frozen=True):
    """One address and port that clients send to; for a node port the address is zero."""

    key: bytes
    node_port: bool = False
    inside: bool = False  # the cluster address, under internalTrafficPolicy
    ranged: bool = False  # a load balancer's address, open to source ranges only


class Numbers:
    """Hands out numbers for variants and for Service ports with affinity; they stay what the kernel has."""

    def __init__(self) -> None:
        self.variants: dict[str, int] = {}  # by chain
        self.wanted: dict[str, Target] = {}  # the variants in use since the last full write
        self._values: dict[Target, bytes] = {}  # of those in wanted
        self._taken: set[int] = set()
        self._next_variant = self._next_affinity = 1

    def learn(self, variants: Mapping[str, int], affinity: Iterable[int]) -> None:
        """Start from what the kernel has."""
        self.variants, self.wanted, self._values, self._taken = dict(variants), {}, {}, set()
        self._next_variant = max(variants.values(), default=0) + 1
        self._next_affinity = max(affinity, default=0) + 1

    def variant(self, target: Target) -> bytes:
        """The value of a row that leads to ``target``."""
        value = self._values.get(target)
        if value is None:
            name = target.name
            self.wanted[name] = target
            found = self.variants.get(name)
            if found is None:
                found = self.variants[name] = self._next_variant
                self._next_variant += 1
            value = self._values[target] = _PAD + word(found)
        return value

    def affinity(self, known: bytes | None, *, own: bool) -> bytes:
        """The number of a Service port: the known one, unless another port has taken it, or a new one.
        ``own``
        tells that it is this very port's number, not one read back from the kernel."""
        found = unword(known) if known else 0
        if not found or (found in self._taken and not own):
            found, self._next_affinity = self._next_affinity, self._next_affinity + 1
        self._taken.add(found)
        return word(found)


class Packer:
    """Addresses and ports of one family as bytes."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.zero = bytes(family.size)

    def address(self, text: str) -> bytes:
        """An address in network order."""
        return inet_pton(self.family.af, text)

    def endpoint(self, one: Endpoint) -> bytes:
        """Address and port of an endpoint."""
        return inet_pton(self.family.af, one.address) + _port(one.port)

    def frontends(self, port: ServedPort) -> list[Frontend]:
        """Where clients may send to for this port, each once; the cluster address comes first."""
        protocol = bytes((PROTOCOLS[port.protocol], 0, 0, 0))
        tail = protocol + _port(port.port)
        first = Frontend(self.address(port.cluster_ip) + tail, inside=True)
        found = {first.key: first}
        for address in port.virtual_ips:
            one = Frontend(self.address(address) + tail, ranged=bool(port.source_ranges))
            found.setdefault(one.key, one)
        for address in port.external_ips:
            one = Frontend(self.address(address) + tail)
            found.setdefault(one.key, one)
        if port.node_port:
            one = Frontend(self.zero + protocol + _port(port.node_port), node_port=True)
            found[one.key] = one
        return list(found.values())


def service_rows(
    served: ServedService,
    packer: Packer,
    numbers: Numbers,
    before: Mapping[Row, bytes],
    *,
    own: bool,
    denied: Callable[[bytes], bool] = lambda _key: False,
) -> Rows:
    """The rows of one Service in the packer's family.

    ``before`` holds the rows that are there, so that what stays keeps its place; ``own`` tells that they are
    this Service's only. ``denied`` names keys that another Service has a better right to.
    """
    rows: Rows = {}
    for port in served.ports:
        if port.family == packer.family.number:
            frontends = [one for one in packer.frontends(port) if not denied(one.key)]
            _Port(port, packer, numbers, before, own).into(rows, frontends)
    return rows


def address_rows(addresses: Sequence[str] | None, packer: Packer) -> Rows:
    """The rows of the addresses that answer on node ports; loopback never does (upstream's rule for this
    mode)."""
    mine = [a for a in addresses or () if (":" in a) == (packer.family.number == 6)]
    return {("nodeport_ips", packer.address(a)): b"" for a in mine if not a.startswith("127.") and a != "::1"}


class _Port:
    """Builds the rows of one Service port."""

    def __init__(
        self, port: ServedPort, packer: Packer, numbers: Numbers, before: Mapping[Row, bytes], own: bool
    ) -> None:
        self.port, self.packer, self.numbers, self.before, self.own = port, packer, numbers, before, own
        self.size = packer.family.size
        name = f"{port.namespace}/{port.name}" + (f":{port.port_name}" if port.port_name else "")
        self.label = name[:120].encode()  # nft takes comments of at most 127 characters
        self.affinity: dict[bool, bytes] = {}  # by pool: the number of this port
        self.pools = {
            local: [packer.endpoint(e) for e in pool]
            for local, pool in ((False, port.cluster), (True, port.local))
        }

    def into(self, rows: Rows, frontends: Sequence[Frontend]) -> None:
        """Add this port's rows."""
        rows["cluster_ips", self.packer.address(self.port.cluster_ip)] = b""
        for pool in self.pools.values():
            for endpoint in pool:
                rows["hairpin", endpoint[: self.size] * 2] = b""
        for frontend in frontends:
            way = self.port.internal if frontend.inside else self.port.external
            target, used = self.target(frontend, way)
            if target is not None:
                rows[self.named("svc", "nodeports", frontend)] = self.numbers.variant(target) + self.label
            if way in (Way.REJECT, Way.DROP):
                fate = Fixed(REJECT if way is Way.REJECT else DROP)
                rows[self.named("noep", "noep_nodeports", frontend)] = self.numbers.variant(fate) + self.label
            for local in used:
                rows.update(self.pool_rows(frontend, frontends, local))
            if frontend.ranged:
                rows.update(self.range_rows(frontend))

    def named(self, vips: str, ports: str, frontend: Frontend) -> Row:
        """The row of a frontend in the map for addresses or the one for node ports."""
        return (ports, frontend.key[self.size :]) if frontend.node_port else (vips, frontend.key)

    def target(self, frontend: Frontend, way: Way) -> tuple[Target | None, tuple[bool, ...]]:
        """The chain for a frontend's traffic, and which pools it takes endpoints from."""
        port = self.port
        if frontend.inside:
            if way not in (Way.CLUSTER, Way.LOCAL):
                return None, ()
            local = way is Way.LOCAL
            return Inside(self.pick(frontend, local=local)), (local,)
        if not port.has_endpoints or not port.cluster:
            return None, ()
        cluster = self.pick(frontend, local=False)
        if not port.external_local:
            return Outside(cluster), (False,)
        if way is Way.LOCAL:
            return Keeping(cluster, self.pick(frontend, local=True)), (False, True)
        return Keeping(cluster), (False,)

    def pick(self, frontend: Frontend, *, local: bool) -> Pick:
        """The chain that takes an endpoint of a pool."""
        return Pick(len(self.pools[local]), local, frontend.node_port, self.port.affinity_seconds)

    def pool_rows(
        self, frontend: Frontend, every: Sequence[Frontend], local: bool
    ) -> Iterator[tuple[Row, bytes]]:
        """The rows of one pool as seen from one frontend; with affinity all frontends share one set of
        rows."""
        start = LOCAL_ROWS if local else 0
        if not self.port.affinity_seconds:
            yield from self.placed("endpoints", frontend.key, start, self.pools[local], b"")
            return
        ids = "aff_local_ids" if local else "aff_ids"
        if local not in self.affinity:
            known = next((self.before[ids, f.key][4:] for f in every if (ids, f.key) in self.before), None)
            self.affinity[local] = self.numbers.affinity(known, own=self.own)
        number = self.affinity[local]
        yield (ids, frontend.key), _PAD + number
        yield from self.placed("aff_endpoints", number, start, self.pools[local], _PAD)
        for endpoint in self.pools[local]:
            yield ("members", endpoint + number), b""

    def placed(
        self, name: str, prefix: bytes, start: int, pool: Sequence[bytes], pad: bytes
    ) -> Iterator[tuple[Row, bytes]]:
        """One row for each endpoint; those that are there stay where they are, others fill the gaps."""
        if not self.before:  # nothing is there, so nothing has a place to keep
            for index, endpoint in enumerate(pool, start):
                yield (name, prefix + word(index)), pad + endpoint
            return
        rows = [(name, prefix + word(start + index)) for index in range(len(pool))]
        left = dict.fromkeys(pad + endpoint for endpoint in pool)
        found: list[bytes | None] = []
        for row in rows:
            value = self.before.get(row)
            if value in left:
                del left[value]
                found.append(value)
            else:
                found.append(None)
        new = iter(left)
        for row, value in zip(rows, found, strict=True):
            yield row, next(new) if value is None else value

    def range_rows(self, frontend: Frontend) -> Iterator[tuple[Row, bytes]]:
        """The networks that may reach a load balancer's address. A node that reaches its own address is seen
        with that very address as source."""
        own = frontend.key[: self.size]
        networks = {
            (network.network_address.packed, network.prefixlen)
            for network in map(ip_network, self.port.source_ranges)
        }
        if self.port.node_in_ranges:
            networks.add((own, self.size * 8))
        for address, length in sorted(networks):
            yield ("allowed", frontend.key + address + word(length)), b""
        lengths = tuple(sorted({length for _, length in networks}, reverse=True))
        yield ("ranged", frontend.key), self.numbers.variant(Sources(lengths)) + self.label
