"""The Node the proxy runs on."""

from __future__ import annotations

import msgspec

from implementation.objects import fields
from implementation.objects.fields import ObjectError
from implementation.objects.service import RawMeta

ZONE_LABEL = "topology.kubernetes.io/zone"
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"  # taint by which an autoscaler announces a node's end


class Node(msgspec.Struct, frozen=True):
    """This node; ``eligible`` is false when it is about to go and load balancers should look elsewhere."""

    name: str
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    zone: str = ""
    eligible: bool = True


class _RawAddress(msgspec.Struct):
    type: str = ""
    address: str = ""


class _RawTaint(msgspec.Struct):
    key: str = ""


class _RawSpec(msgspec.Struct):
    pod_cidr: str | None = msgspec.field(name="podCIDR", default=None)
    pod_cidrs: list[str] | None = msgspec.field(name="podCIDRs", default=None)
    taints: list[_RawTaint] | None = None


class _RawStatus(msgspec.Struct):
    addresses: list[_RawAddress] | None = None


class _RawNode(msgspec.Struct):
    metadata: RawMeta
    spec: _RawSpec | None = None
    status: _RawStatus | None = None


_decoder = msgspec.json.Decoder(_RawNode)


def parse_node(raw: bytes | msgspec.Raw) -> Node:
    """The Node in this JSON; ObjectError where it cannot be used. Addresses that are no IP are left out."""
    try:
        found = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ObjectError(f"this is not a Node: {error}") from error
    spec, status = found.spec or _RawSpec(), found.status or _RawStatus()
    given = [a.address for a in status.addresses or () if a.type in ("InternalIP", "ExternalIP")]
    cidrs = spec.pod_cidrs or ([spec.pod_cidr] if spec.pod_cidr else [])
    taints = {taint.key for taint in spec.taints or ()}
    return Node(
        name=fields.object_name(found.metadata.name, "metadata.name"),
        addresses=tuple(fields.address(value, "status.addresses") for value in given),
        pod_cidrs=tuple(fields.network(value, "spec.podCIDRs") for value in cidrs),
        zone=(found.metadata.labels or {}).get(ZONE_LABEL, ""),
        eligible=TO_BE_DELETED not in taints and found.metadata.deletion_timestamp is None,
    )
