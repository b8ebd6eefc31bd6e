"""A Service and a Node as the load balancer needs them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from implementation.objects import fields
from implementation.objects.fields import ObjectError
from implementation.objects.service import RawMeta

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


class BalancedService(msgspec.Struct, frozen=True):
    """A Service with what allocation and announcement look at; ``ingress`` holds the status' addresses in
    order.

    ``foreign_hostname`` is true when an ingress entry is a host name, which only another load balancer
    writes.
    """

    namespace: str
    name: str
    uid: str = ""
    type: str = "ClusterIP"
    load_balancer_class: str | None = None
    cluster_ips: tuple[str, ...] = ()
    family_policy: str = "SingleStack"
    families: tuple[str, ...] = ()
    requested_ip: str = ""
    external_local: bool = False
    selector: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    ingress: tuple[str, ...] = ()
    foreign_hostname: bool = False
    deleting: bool = False

    @property
    def key(self) -> str:
        """Namespace and name as MetalLB writes them in its events."""
        return f"{self.namespace}/{self.name}"

    def annotation(self, name: str) -> str | None:
        """The value of an annotation, or None."""
        return dict(self.annotations).get(name)


class BalancedNode(msgspec.Struct, frozen=True):
    """A Node that may announce; ``address`` is its first internal IPv4 address, or empty."""

    name: str
    address: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    excluded: bool = False


class _Meta(RawMeta, rename="camel"):
    uid: str = ""


class _RawPort(msgspec.Struct):
    protocol: str | None = None
    port: int = 0


class _RawSpec(msgspec.Struct, rename="camel"):
    type: str | None = None
    load_balancer_class: str | None = None
    cluster_ip: str | None = msgspec.field(name="clusterIP", default=None)
    cluster_ips: list[str] | None = msgspec.field(name="clusterIPs", default=None)
    ip_family_policy: str | None = None
    ip_families: list[str] | None = None
    load_balancer_ip: str | None = msgspec.field(name="loadBalancerIP", default=None)
    external_traffic_policy: str | None = None
    selector: dict[str, str] | None = None
    ports: list[_RawPort] | None = None


class _RawIngress(msgspec.Struct):
    ip: str | None = None
    hostname: str | None = None


class _RawLoadBalancer(msgspec.Struct):
    ingress: list[_RawIngress] | None = None


class _RawStatus(msgspec.Struct, rename="camel"):
    load_balancer: _RawLoadBalancer | None = None


class _RawService(msgspec.Struct):
    metadata: _Meta
    spec: _RawSpec | None = None
    status: _RawStatus | None = None


class _RawAddress(msgspec.Struct):
    type: str = ""
    address: str = ""


class _RawCondition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _RawNodeStatus(msgspec.Struct):
    addresses: list[_RawAddress] | None = None
    conditions: list[_RawCondition] | None = None


class _RawNode(msgspec.Struct):
    metadata: RawMeta
    status: _RawNodeStatus | None = None


class _RawNamed(msgspec.Struct):
    metadata: RawMeta


_service_decoder = msgspec.json.Decoder(_RawService)
_node_decoder = msgspec.json.Decoder(_RawNode)
_named_decoder = msgspec.json.Decoder(_RawNamed)
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse_balanced(raw: bytes | msgspec.Raw) -> BalancedService:
    """The Service in this JSON; ObjectError where it cannot be used."""
    try:
        found = _service_decoder.decode(raw)
    except _BROKEN as error:
        raise ObjectError(f"this is not a Service: {error}") from error
    meta, spec = found.metadata, found.spec or _RawSpec()
    given = spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])
    addresses, hostname = _ingress(found.status)
    return BalancedService(
        namespace=fields.object_name(meta.namespace, "metadata.namespace"),
        name=fields.object_name(meta.name, "metadata.name"),
        uid=meta.uid,
        type=spec.type or "ClusterIP",
        load_balancer_class=spec.load_balancer_class,
        cluster_ips=tuple(fields.address(a, "spec.clusterIPs") for a in given if a not in ("", "None")),
        family_policy=spec.ip_family_policy or "SingleStack",
        families=tuple(spec.ip_families or ()),
        requested_ip=spec.load_balancer_ip or "",
        external_local=spec.external_traffic_policy == "Local",
        selector=_sorted(spec.selector),
        ports=tuple(_port(port) for port in spec.ports or ()),
        labels=_sorted(meta.labels),
        annotations=_sorted(meta.annotations),
        ingress=addresses,
        foreign_hostname=hostname,
        deleting=meta.deletion_timestamp is not None,
    )


def _port(raw: _RawPort) -> tuple[str, int]:
    protocol = fields.protocol(raw.protocol, "spec.ports.protocol")
    return protocol, fields.port_number(raw.port, "spec.ports.port")


def _sorted(mapping: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((mapping or {}).items()))


def _ingress(status: _RawStatus | None) -> tuple[tuple[str, ...], bool]:
    """The ingress addresses (those that are none are left out), and whether a host name stands among them."""
    entries = (status.load_balancer.ingress or []) if status and status.load_balancer else []
    addresses = []
    for entry in entries:
        try:
            addresses.append(fields.address(entry.ip, "status.loadBalancer.ingress"))
        except ObjectError:
            continue
    return tuple(addresses), any(entry.hostname for entry in entries)


def parse_balanced_node(raw: bytes | msgspec.Raw) -> BalancedNode:
    """The Node in this JSON. ``excluded``: labelled out of load balancing, or its network is unavailable."""
    try:
        found = _node_decoder.decode(raw)
    except _BROKEN as error:
        raise ObjectError(f"this is not a Node: {error}") from error
    status = found.status or _RawNodeStatus()
    internal = [a.address for a in status.addresses or () if a.type == "InternalIP"]
    labels = found.metadata.labels or {}
    unavailable = any(c.type == "NetworkUnavailable" and c.status == "True" for c in status.conditions or ())
    return BalancedNode(
        name=fields.object_name(found.metadata.name, "metadata.name"),
        address=next((fields.address(a, "status.addresses") for a in internal if ":" not in a), ""),
        labels=_sorted(labels),
        excluded=unavailable or EXCLUDE_LABEL in labels,
    )


def parse_labels(raw: bytes | msgspec.Raw) -> tuple[str, dict[str, str]]:
    """Name and labels of any object (used for Namespaces)."""
    try:
        meta = _named_decoder.decode(raw).metadata
    except _BROKEN as error:
        raise ObjectError(f"this is not an object: {error}") from error
    return fields.object_name(meta.name, "metadata.name"), dict(meta.labels or {})
