"""ServiceCIDR and IPAddress objects, and what Services get their addresses from. Pure.

Rules and words: ``pkg/controller/servicecidrs`` and the IP allocator of Kubernetes 1.36 (KEP-1880): a new
ServiceCIDR widens the range at once; one that is deleted stays until no address of it is in use; an IPAddress
that somebody made keeps its address from Services, and that of a Service comes back when it is deleted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from clusters.apiserver.builtin import builtin
from clusters.apiserver.deletion import DeleteOptions
from clusters.apiserver.settling import timestamp
from clusters.apiserver.store import Entry, Key

if TYPE_CHECKING:
    from clusters.apiserver.registry import Registry

Object = dict[str, Any]
ADDRESSES = builtin("networking.k8s.io", "v1", "ipaddresses")
NETWORKS = builtin("networking.k8s.io", "v1", "servicecidrs")
_FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_READY = ("True", "", "Kubernetes Service CIDR is ready")
_LEAVING = (
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)


class ServiceNetworks:
    """Keeps IPAddress objects those of the Services, and the allocator's ranges those of the ServiceCIDRs."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._held: dict[Key, set[str]] = {}  # the addresses each Service has an object for

    def adopt(self, key: Key, service: Object) -> None:
        """Takes on a Service of an earlier life, whose IPAddress objects are there."""
        if addresses := _addresses(service):
            self._held[key] = addresses

    def adopt_network(self, key: Key, obj: Object) -> None:
        """Takes on a ServiceCIDR of an earlier life."""
        if "deletionTimestamp" not in obj["metadata"]:
            self._registry.allocator.widen(key[1], _networks(obj))

    def serve(self, key: Key, service: Object | None) -> None:
        """Makes the IPAddress objects of a Service those of its addresses; None: it is gone."""
        store, before = self._registry.store, self._held.pop(key, set())
        wanted = _addresses(service) if service is not None else set()
        if wanted:
            self._held[key] = wanted
        for address in before - wanted:
            if store.get(ADDRESSES, ("", address)) is not None:
                self._registry.delete(ADDRESSES, ("", address), DeleteOptions())
        for address in wanted - before:
            self._make(key, address)

    def _make(self, key: Key, address: str) -> None:
        if self._registry.store.get(ADDRESSES, ("", address)) is None:
            self._registry.create(ADDRESSES, "", _address_object(key, address))

    def _owner(self, address: str) -> Key | None:
        return next((key for key, addresses in self._held.items() if address in addresses), None)

    def address_written(self, address: str) -> None:
        """To be called after an IPAddress was made: nobody else gets its address."""
        self._registry.allocator.hold(address)

    def address_removed(self, address: str) -> None:
        """To be called after an IPAddress was removed: a Service's is made again, another's is free."""
        owner = self._owner(address)
        if owner is not None:
            self._make(owner, address)
            return
        self._registry.allocator.let_go(address)
        for key, entry in list(self._registry.store.select(NETWORKS)):
            if "deletionTimestamp" in entry.object["metadata"]:
                self.network_leaves(key)

    def network_written(self, key: Key, obj: Object) -> None:
        """To be called after a ServiceCIDR was written: Services get addresses of it from now on."""
        if "deletionTimestamp" in obj["metadata"]:
            return
        self._registry.allocator.widen(key[1], _networks(obj))
        self._tell(key, obj, _READY, [_FINALIZER])

    def network_leaves(self, key: Key) -> Entry | None:
        """To be called after a ServiceCIDR was marked for deletion; gives it, None once it is gone."""
        store = self._registry.store
        entry = store.get(NETWORKS, key)
        if entry is None:
            return None
        others = [
            network
            for other, held in store.select(NETWORKS)
            if other != key and "deletionTimestamp" not in held.object["metadata"]
            for network in _networks(held.object)
        ]
        mine = _networks(entry.object)
        used = (ipaddress.ip_address(address[1]) for address, _ in store.select(ADDRESSES))
        if any(_within(address, mine) and not _within(address, others) for address in used):
            self._tell(key, entry.object, _LEAVING, [_FINALIZER])
            return store.get(NETWORKS, key)
        rest = [name for name in entry.object["metadata"].get("finalizers") or () if name != _FINALIZER]
        self._registry.allocator.narrow(key[1])
        return self._registry.release_finalizers(NETWORKS, key, rest)

    def _tell(self, key: Key, obj: Object, told: tuple[str, str, str], finalizers: list[str]) -> None:
        status, reason, message = told
        held: Object = next(iter((obj.get("status") or {}).get("conditions") or ()), {})
        kept = list(dict.fromkeys([*(obj["metadata"].get("finalizers") or ()), *finalizers]))
        new = {"type": "Ready", "status": status, "reason": reason, "message": message}
        same = all(held.get(name) == value for name, value in new.items())
        if same and kept == obj["metadata"].get("finalizers"):
            return
        since = held["lastTransitionTime"] if same else timestamp(self._registry.now())
        conditions = [{**new, "lastTransitionTime": since}]
        metadata = {**obj["metadata"], "finalizers": kept}
        changed = {**obj, "metadata": metadata, "status": {"conditions": conditions}}
        self._registry.store.put(NETWORKS, key, changed)


def _addresses(service: Object) -> set[str]:
    return {address for address in service["spec"].get("clusterIPs") or () if address != "None"}


def _networks(obj: Object) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(cidr) for cidr in (obj.get("spec") or {}).get("cidrs") or ()]


def _within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> bool:
    return any(address in network for network in networks)


def _address_object(key: Key, address: str) -> Object:
    family = f"IPv{ipaddress.ip_address(address).version}"
    labels = {
        "ipaddress.kubernetes.io/ip-family": family,
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    parent = {"group": "", "resource": "services", "namespace": key[0], "name": key[1]}
    return {"metadata": {"name": address, "labels": labels}, "spec": {"parentRef": parent}}
