"""What must be served → doors, and who is led to which; pure.

A door is one listening socket: one port of a Service and one pool of endpoints, all of the cluster's or
those of
this node. Where a client comes from and what it asked for is decided by the redirecting rules, so a door
needs to know neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from implementation.state.desired import Desired, Endpoint, ServedPort, Way


class Door(NamedTuple):
    """The name of a door; it stays the same when the Service's endpoints, addresses or port numbers
    change."""

    namespace: str
    name: str
    port_name: str
    protocol: str
    family: int
    local: bool  # endpoints of this node only

    @property
    def service_port(self) -> tuple[str, ...]:
        """What affinity is remembered for."""
        return (self.namespace, self.name, self.port_name, self.protocol, str(self.family))


class Where(NamedTuple):
    """Where clients send to; the address is empty for a node port."""

    family: int
    protocol: str
    address: str
    port: int


class Pool(msgspec.Struct, frozen=True):
    """What stands behind a door."""

    endpoints: tuple[Endpoint, ...]
    affinity_seconds: int
    serving: tuple[str, ...] = ()  # "ip:port" of endpoints a UDP client may stay with


class Plan(msgspec.Struct):
    """Everything that must be open: ``fates`` leads clients to a door, or refuses or drops them; ``short``
    comes first for clients of this cluster; ``ranges`` are the networks that may use an address at all."""

    doors: dict[Door, Pool]
    fates: dict[Where, Door | Way]
    short: dict[Where, Door]
    ranges: dict[Where, tuple[str, ...]]


def plan(desired: Desired) -> Plan:
    """The doors for ``desired``. An address that two Services ask for goes to the one whose cluster address
    it is, else to the first by name."""
    made = Plan({}, {}, {}, {})
    ports = [port for key in sorted(desired.services) for port in desired.services[key].ports]
    for port in ports:
        made.fates.setdefault(_where(port, port.cluster_ip), _fate(port, port.internal))
    for port in ports:
        for where, ranged in outside(port):
            if where in made.fates:
                continue
            made.fates[where] = _fate(port, port.external)
            if port.external_local and port.cluster and served(port):
                made.short[where] = _door(port, local=False)
            if ranged:
                made.ranges[where] = sources(port, where.address)
    pools = {_door(port, local=local): port for port in ports for local in (False, True)}
    used = {*made.short.values(), *(fate for fate in made.fates.values() if isinstance(fate, Door))}
    for door in sorted(used):
        port = pools[door]
        pool = port.local if door.local else port.cluster
        made.doors[door] = Pool(pool, port.affinity_seconds, port.serving)
    return made


def served(port: ServedPort) -> bool:
    """False for SCTP, whose associations cannot be copied from socket to socket without loss of meaning."""
    return port.protocol != "sctp"


def outside(port: ServedPort) -> Iterator[tuple[Where, bool]]:
    """The addresses under externalTrafficPolicy, and whether source ranges hold for each."""
    for address in port.virtual_ips:
        yield _where(port, address), bool(port.source_ranges)
    for address in port.external_ips:
        yield _where(port, address), False
    if port.node_port:
        yield Where(port.family, port.protocol, "", port.node_port), False


def sources(port: ServedPort, address: str) -> tuple[str, ...]:
    """The networks that may use a load balancer's address. A node that reaches its own address is seen with
    that very address as source."""
    return (*port.source_ranges, address) if port.node_in_ranges else port.source_ranges


def _where(port: ServedPort, address: str) -> Where:
    return Where(port.family, port.protocol, address, port.port)


def _door(port: ServedPort, *, local: bool) -> Door:
    return Door(port.namespace, port.name, port.port_name, port.protocol, port.family, local)


def _fate(port: ServedPort, way: Way) -> Door | Way:
    if way in (Way.REJECT, Way.DROP):
        return way
    return _door(port, local=way is Way.LOCAL) if served(port) else Way.REJECT
