"""A Service as the proxy needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from implementation.objects import fields
from implementation.objects.fields import ObjectError

AFFINITY_SECONDS = 10800  # Kubernetes' default of sessionAffinityConfig.clientIP.timeoutSeconds
T = TypeVar("T")


class ServicePort(msgspec.Struct, frozen=True):
    """One port of a Service; ``node_port`` 0 means none."""

    name: str
    protocol: str
    port: int
    node_port: int


class Service(msgspec.Struct, frozen=True):
    """A Service with every field checked; an object without addresses (headless, ExternalName) has no
    ``cluster_ips``.

    ``virtual_ips`` are the load balancer's addresses that this node must serve itself (ipMode VIP).
    ``doubts`` are sentences about parts that were left out because they were not usable.
    """

    namespace: str
    name: str
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    external_ips: tuple[str, ...] = ()
    virtual_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_seconds: int = 0
    internal_local: bool = False
    external_local: bool = False
    health_check_node_port: int = 0
    doubts: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)


class RawMeta(msgspec.Struct, rename="camel"):
    """The metadata every object has, unchecked."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class _RawPort(msgspec.Struct, rename="camel"):
    name: str | None = None
    protocol: str | None = None
    port: int = 0
    node_port: int | None = None


class _RawClientIP(msgspec.Struct, rename="camel"):
    timeout_seconds: int | None = None


class _RawAffinity(msgspec.Struct):
    client_ip: _RawClientIP | None = msgspec.field(name="clientIP", default=None)


class _RawSpec(msgspec.Struct, rename="camel"):
    type: str | None = None
    cluster_ip: str | None = msgspec.field(name="clusterIP", default=None)
    cluster_ips: list[str] | None = msgspec.field(name="clusterIPs", default=None)
    external_ips: list[str] | None = msgspec.field(name="externalIPs", default=None)
    ports: list[_RawPort] | None = None
    session_affinity: str | None = None
    session_affinity_config: _RawAffinity | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str | None = None
    health_check_node_port: int | None = None
    load_balancer_source_ranges: list[str] | None = None


class _RawIngress(msgspec.Struct, rename="camel"):
    ip: str | None = None
    ip_mode: str | None = None


class _RawLoadBalancer(msgspec.Struct):
    ingress: list[_RawIngress] | None = None


class _RawStatus(msgspec.Struct, rename="camel"):
    load_balancer: _RawLoadBalancer | None = None


class _RawService(msgspec.Struct):
    metadata: RawMeta
    spec: _RawSpec | None = None
    status: _RawStatus | None = None


_decoder = msgspec.json.Decoder(_RawService)


def parse_service(raw: bytes | msgspec.Raw) -> Service:
    """The Service in this JSON; ObjectError where the object as a whole cannot be used.

    A wrong part that leaves the rest meaningful (one external address, one source range) is left out and
    told in ``doubts``. A source range that is left out never widens access: see :func:`_ranges`.
    """
    try:
        found = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ObjectError(f"this is not a Service: {error}") from error
    meta, spec = found.metadata, found.spec or _RawSpec()
    namespace = fields.object_name(meta.namespace, "metadata.namespace")
    name = fields.object_name(meta.name, "metadata.name")
    doubts: list[str] = []
    addresses = [] if spec.type == "ExternalName" else spec.cluster_ips or [spec.cluster_ip or ""]
    cluster_ips = _usable(
        fields.address, [a for a in addresses if a not in ("", "None")], "clusterIPs", doubts
    )
    local = spec.external_traffic_policy == "Local"
    return Service(
        namespace=namespace,
        name=name,
        cluster_ips=cluster_ips,
        ports=_ports(spec.ports or ()),
        external_ips=_usable(fields.endpoint_address, spec.external_ips or (), "externalIPs", doubts),
        virtual_ips=_virtual_ips(found.status, doubts) if spec.type == "LoadBalancer" else (),
        source_ranges=_ranges(spec.load_balancer_source_ranges or (), doubts),
        affinity_seconds=_affinity(spec),
        internal_local=spec.internal_traffic_policy == "Local",
        external_local=local,
        health_check_node_port=fields.optional_port(spec.health_check_node_port, "healthCheckNodePort")
        if local
        else 0,
        doubts=tuple(doubts),
    )


def _usable(
    check: Callable[[object, str], T],
    values: Sequence[object],
    field: str,
    doubts: list[str],
) -> tuple[T, ...]:
    """The values that pass ``check``, in order and once each; the others become sentences in ``doubts``."""
    kept: dict[T, None] = {}
    for value in values:
        try:
            kept[check(value, field)] = None
        except ObjectError as error:
            doubts.append(f"{error}; it is not served")
    return tuple(kept)


def _ranges(values: Sequence[str], doubts: list[str]) -> tuple[str, ...]:
    """Checked source ranges; when none of those given is usable nobody is let in, rather than everybody."""
    kept = _usable(
        fields.network, [value for value in values if value.strip()], "loadBalancerSourceRanges", doubts
    )
    if any(value.strip() for value in values) and not kept:
        return ("0.0.0.0/32", "::/128")
    return kept


def _virtual_ips(status: _RawStatus | None, doubts: list[str]) -> tuple[str, ...]:
    """Addresses of the load balancer this node answers for: ipMode VIP or not given (KEP-1860)."""
    if status is None or status.load_balancer is None:
        return ()
    ingress: Sequence[Any] = status.load_balancer.ingress or ()
    return _usable(
        fields.endpoint_address,
        [i.ip for i in ingress if i.ip and i.ip_mode in (None, "VIP")],
        "status.loadBalancer.ingress",
        doubts,
    )


def _affinity(spec: _RawSpec) -> int:
    """Seconds a client stays with its endpoint; 0 without ClientIP affinity."""
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    if seconds is None:
        return AFFINITY_SECONDS
    if not 1 <= seconds <= 86400:
        raise ObjectError(f"sessionAffinityConfig.clientIP.timeoutSeconds {seconds} is not from 1 to 86400")
    return seconds


def _ports(ports: Sequence[_RawPort]) -> tuple[ServicePort, ...]:
    return tuple(
        ServicePort(
            name=fields.port_name(p.name, f"ports[{i}].name"),
            protocol=fields.protocol(p.protocol, f"ports[{i}].protocol"),
            port=fields.port_number(p.port, f"ports[{i}].port"),
            node_port=fields.optional_port(p.node_port, f"ports[{i}].nodePort"),
        )
        for i, p in enumerate(ports)
    )
