"""MetalLB's configuration objects (group ``metallb.io``), checked: IPAddressPool and L2Advertisement."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec

from implementation.objects import fields
from implementation.objects.fields import ObjectError, shown
from implementation.objects.selector import RawSelector, Selector, selectors
from implementation.objects.service import RawMeta

_EXPECTED = "is not a range such as 192.168.2.200-192.168.2.225 or 10.0.0.0/24"


class AddressRange(msgspec.Struct, frozen=True, order=True):
    """Addresses from ``first`` to ``last``, both included, as numbers of family 4 or 6."""

    family: int
    first: int
    last: int

    def __contains__(self, address: str) -> bool:
        found = ip_address(address)
        return found.version == self.family and self.first <= int(found) <= self.last

    def __iter__(self) -> Iterator[str]:
        return (self.text(number) for number in range(self.first, self.last + 1))

    def text(self, number: int) -> str:
        """The address of this number, in canonical spelling."""
        return str(IPv4Address(number) if self.family == 4 else IPv6Address(number))

    def overlaps(self, other: AddressRange) -> bool:
        """Whether an address lies in both."""
        return self.family == other.family and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.text(self.first)}-{self.text(self.last)}"


class Allotment(msgspec.Struct, frozen=True):
    """``spec.serviceAllocation``: the services a pool is kept for. Lower ``priority`` wins; 0 comes last."""

    priority: int = 0
    namespaces: tuple[str, ...] = ()
    namespace_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()


class Pool(msgspec.Struct, frozen=True):
    """One IPAddressPool."""

    name: str
    ranges: tuple[AddressRange, ...]
    labels: tuple[tuple[str, str], ...] = ()
    auto_assign: bool = True
    avoid_buggy: bool = False
    allotment: Allotment | None = None


class L2Advertisement(msgspec.Struct, frozen=True):
    """One L2Advertisement; without pool names and pool selectors it holds for every pool."""

    name: str
    pools: tuple[str, ...] = ()
    pool_selectors: tuple[Selector, ...] = ()
    node_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()
    interfaces: tuple[str, ...] = ()


def address_range(value: object, field: str) -> AddressRange:
    """The range written as ``10.0.0.0/24`` or ``10.0.0.1-10.0.0.9`` (blanks around the dash are allowed)."""
    if not isinstance(value, str) or "%" in value:
        raise ObjectError(f"{field} {shown(value)} {_EXPECTED}")
    first, dash, last = (part.strip() for part in value.partition("-"))
    try:
        if not dash:
            if "/" not in first:
                raise ValueError(value)
            net = ip_network(first, strict=False)
            return AddressRange(net.version, int(net.network_address), int(net.broadcast_address))
        start, end = ip_address(first), ip_address(last)
    except ValueError:
        raise ObjectError(f"{field} {shown(value)} {_EXPECTED}") from None
    if start.version != end.version:
        raise ObjectError(f"{field} {shown(value)} mixes IPv4 and IPv6; both ends must be of one family")
    if int(start) > int(end):
        raise ObjectError(f"{field} {shown(value)} starts after its end; write the lower address first")
    return AddressRange(start.version, int(start), int(end))


class _RawAllotment(msgspec.Struct, rename="camel"):
    priority: int | None = None
    namespaces: list[str] | None = None
    namespace_selectors: list[RawSelector] | None = None
    service_selectors: list[RawSelector] | None = None


class _RawPoolSpec(msgspec.Struct, rename="camel"):
    addresses: list[str] | None = None
    auto_assign: bool | None = None
    avoid_buggy_ips: bool | None = msgspec.field(name="avoidBuggyIPs", default=None)
    service_allocation: _RawAllotment | None = None


class _RawPool(msgspec.Struct):
    metadata: RawMeta
    spec: _RawPoolSpec


class _RawL2Spec(msgspec.Struct, rename="camel"):
    ip_address_pools: list[str] | None = None
    ip_address_pool_selectors: list[RawSelector] | None = None
    node_selectors: list[RawSelector] | None = None
    service_selectors: list[RawSelector] | None = None
    interfaces: list[str] | None = None


class _RawL2(msgspec.Struct):
    metadata: RawMeta
    spec: _RawL2Spec | None = None


_pool_decoder = msgspec.json.Decoder(_RawPool)
_l2_decoder = msgspec.json.Decoder(_RawL2)
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse_pool(raw: bytes | msgspec.Raw) -> Pool:
    """The IPAddressPool in this JSON; ObjectError says which field is wrong and what is allowed."""
    try:
        found = _pool_decoder.decode(raw)
    except _BROKEN as error:
        raise ObjectError(f"this is not an IPAddressPool: {error}") from error
    name, spec = fields.object_name(found.metadata.name, "metadata.name"), found.spec
    if not spec.addresses:
        raise ObjectError(f"IPAddressPool {name}: spec.addresses is empty; give at least one range")
    return Pool(
        name=name,
        ranges=tuple(address_range(a, f"IPAddressPool {name}: spec.addresses[{i}]")
                     for i, a in enumerate(spec.addresses)),
        labels=tuple(sorted((found.metadata.labels or {}).items())),
        auto_assign=spec.auto_assign is not False,
        avoid_buggy=bool(spec.avoid_buggy_ips),
        allotment=_allotment(spec.service_allocation, f"IPAddressPool {name}: spec.serviceAllocation"),
    )


def _allotment(raw: _RawAllotment | None, field: str) -> Allotment | None:
    if raw is None:
        return None
    namespaces = raw.namespaces or []
    if len(set(namespaces)) != len(namespaces):
        raise ObjectError(f"{field}.namespaces names a namespace twice; each may stand there once")
    return Allotment(
        priority=raw.priority or 0,
        namespaces=tuple(namespaces),
        namespace_selectors=selectors(raw.namespace_selectors, f"{field}.namespaceSelectors"),
        service_selectors=selectors(raw.service_selectors, f"{field}.serviceSelectors"),
    )


def parse_l2_advertisement(raw: bytes | msgspec.Raw) -> L2Advertisement:
    """The L2Advertisement in this JSON; ObjectError says which field is wrong and what is allowed."""
    try:
        found = _l2_decoder.decode(raw)
    except _BROKEN as error:
        raise ObjectError(f"this is not an L2Advertisement: {error}") from error
    name, spec = fields.object_name(found.metadata.name, "metadata.name"), found.spec or _RawL2Spec()
    where = f"L2Advertisement {name}: spec"
    return L2Advertisement(
        name=name,
        pools=tuple(spec.ip_address_pools or ()),
        pool_selectors=selectors(spec.ip_address_pool_selectors, f"{where}.ipAddressPoolSelectors"),
        node_selectors=selectors(spec.node_selectors, f"{where}.nodeSelectors"),
        service_selectors=selectors(spec.service_selectors, f"{where}.serviceSelectors"),
        interfaces=tuple(spec.interfaces or ()),
    )
