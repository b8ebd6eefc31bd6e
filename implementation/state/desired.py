"""What must be served on this node: the words in which every mode of the data plane is told.

No rule, chain or socket is known here; a :class:`ServedPort` holds only decisions already taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

ServiceKey = tuple[str, str]  # namespace, name


class Way(StrEnum):
    """Where one kind of traffic to a Service port goes on this node."""

    CLUSTER = "cluster"  # to the endpoints of the whole cluster
    LOCAL = "local"  # to endpoints on this node only
    REJECT = "reject"  # refused at once: nobody serves it anywhere
    DROP = "drop"  # silently dropped: it is served, but not by this node


class Endpoint(msgspec.Struct, frozen=True, order=True):
    """One address and port of a pod that serves a Service port."""

    address: str
    port: int
    local: bool = False
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """``ip:port``, an IPv6 address in brackets."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class ServedPort(msgspec.Struct, frozen=True):
    """One port of one Service in one address family.

    ``cluster`` and ``local`` are the endpoints of the two pools, ``reachable`` all that some rule leads to,
    each in order of "ip:port" text. ``node_in_ranges``: some source range holds an address of this node.
    """

    namespace: str
    name: str
    port_name: str
    protocol: str  # tcp, udp, sctp
    family: int
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    virtual_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    node_in_ranges: bool = False
    affinity_seconds: int = 0
    external_local: bool = False
    health_check_node_port: int = 0
    internal: Way = Way.REJECT
    external: Way = Way.REJECT
    has_endpoints: bool = False
    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    reachable: tuple[Endpoint, ...] = ()
    serving: tuple[str, ...] = ()  # "ip:port" of all that still serve, ready or not, near or far


class HealthCheck(msgspec.Struct, frozen=True):
    """What a healthCheckNodePort answers: how many ready endpoints of the Service are on this node."""

    namespace: str
    name: str
    port: int
    local_endpoints: int


class ServedService(msgspec.Struct, frozen=True):
    """All ports of one Service, and its health check where it has one."""

    ports: tuple[ServedPort, ...] = ()
    health_check: HealthCheck | None = None


class Desired(msgspec.Struct, frozen=True):
    """Everything this node must serve. Who wants to know later what was served copies ``services``.

    ``node_port_addresses`` are the node's addresses that answer on node ports; None means all of them.
    ``changed`` are the only Services that may differ from what was desired the time before; None means any.
    """

    services: Mapping[ServiceKey, ServedService]
    node_port_addresses: tuple[str, ...] | None = None
    changed: frozenset[ServiceKey] | None = None


class ThisNode(msgspec.Struct, frozen=True):
    """The facts of this node that decisions depend on."""

    name: str
    addresses: tuple[str, ...] = ()
    zone: str = ""
