"""An EndpointSlice as the proxy needs it."""

from __future__ import annotations

import msgspec

from implementation.objects import fields
from implementation.objects.fields import ObjectError
from implementation.objects.service import RawMeta

SERVICE_LABEL = "kubernetes.io/service-name"
TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


class SliceEndpoint(msgspec.Struct, frozen=True):
    """One endpoint of a slice; ``zones`` and ``nodes`` are its topology hints."""

    address: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class SlicePort(msgspec.Struct, frozen=True):
    """One port of a slice."""

    name: str
    protocol: str
    port: int


class EndpointSlice(msgspec.Struct, frozen=True):
    """A slice with every field checked; ``service`` is the name of its Service, ``triggered`` RFC 3339 or
    empty."""

    namespace: str
    name: str
    service: str
    family: int
    ports: tuple[SlicePort, ...] = ()
    endpoints: tuple[SliceEndpoint, ...] = ()
    triggered: str = ""
    doubts: tuple[str, ...] = ()


class _RawConditions(msgspec.Struct):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _RawHint(msgspec.Struct):
    name: str = ""


class _RawHints(msgspec.Struct, rename="camel"):
    for_zones: list[_RawHint] | None = None
    for_nodes: list[_RawHint] | None = None


class _RawEndpoint(msgspec.Struct, rename="camel"):
    addresses: list[str] = []
    conditions: _RawConditions | None = None
    node_name: str | None = None
    hints: _RawHints | None = None


class _RawPort(msgspec.Struct):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class _RawSlice(msgspec.Struct, rename="camel"):
    metadata: RawMeta
    address_type: str = ""
    endpoints: list[_RawEndpoint] | None = None
    ports: list[_RawPort] | None = None


_decoder = msgspec.json.Decoder(_RawSlice)
_FAMILIES = {"IPv4": 4, "IPv6": 6}


def parse_slice(raw: bytes | msgspec.Raw) -> EndpointSlice | None:
    """The slice in this JSON, or None where it is none of the proxy's business (no Service label, FQDN
    addresses).

    Raises ObjectError where the object as a whole cannot be used; single wrong endpoints and ports are left
    out.
    """
    try:
        found = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ObjectError(f"this is not an EndpointSlice: {error}") from error
    meta = found.metadata
    service = (meta.labels or {}).get(SERVICE_LABEL, "")
    family = _FAMILIES.get(found.address_type)
    if not service or family is None:
        return None
    doubts: list[str] = []
    return EndpointSlice(
        namespace=fields.object_name(meta.namespace, "metadata.namespace"),
        name=fields.object_name(meta.name, "metadata.name"),
        service=fields.object_name(service, f"label {SERVICE_LABEL}"),
        family=family,
        ports=_ports(found.ports or [], doubts),
        endpoints=_endpoints(found.endpoints or [], family, doubts),
        triggered=(meta.annotations or {}).get(TRIGGER_ANNOTATION, ""),
        doubts=tuple(doubts),
    )


def _ports(raw: list[_RawPort], doubts: list[str]) -> tuple[SlicePort, ...]:
    """Ports with a number; Kubernetes lets a slice leave the number out ("all ports"), which no proxy can
    serve."""
    kept: list[SlicePort] = []
    for i, port in enumerate(raw):
        if not port.port:
            continue
        try:
            kept.append(
                SlicePort(
                    fields.port_name(port.name, f"ports[{i}].name"),
                    fields.protocol(port.protocol, f"ports[{i}].protocol"),
                    fields.port_number(port.port, f"ports[{i}].port"),
                )
            )
        except ObjectError as error:
            doubts.append(f"{error}; it is not served")
    return tuple(kept)


def _endpoints(raw: list[_RawEndpoint], family: int, doubts: list[str]) -> tuple[SliceEndpoint, ...]:
    """Usable endpoints; only the first address counts, as further ones were never defined by Kubernetes."""
    kept: list[SliceEndpoint] = []
    for i, endpoint in enumerate(raw):
        if not endpoint.addresses:
            continue
        try:
            address = fields.endpoint_address(endpoint.addresses[0], f"endpoints[{i}].addresses[0]")
            if fields.family(address) != family:
                raise ObjectError(f"endpoints[{i}].addresses[0] {address} is not of the slice's address type")
        except ObjectError as error:
            doubts.append(f"{error}; it is not served")
            continue
        kept.append(_endpoint(address, endpoint))
    return tuple(kept)


def _endpoint(address: str, raw: _RawEndpoint) -> SliceEndpoint:
    """Conditions that are not given count as ready, serving and not terminating (API reference)."""
    conditions, hints = raw.conditions or _RawConditions(), raw.hints or _RawHints()
    ready = conditions.ready is not False
    return SliceEndpoint(
        address=address,
        ready=ready,
        serving=ready if conditions.serving is None else conditions.serving,
        terminating=bool(conditions.terminating),
        node=raw.node_name or "",
        zones=tuple(hint.name for hint in hints.for_zones or ()),
        nodes=tuple(hint.name for hint in hints.for_nodes or ()),
    )
