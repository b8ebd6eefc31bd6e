"""Services, slices and namespaces as DNS needs them: by name and by address, kept by watch events. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
Place = tuple[str, str]  # namespace and Service name

_SERVICE_LABEL = "kubernetes.io/service-name"


class Directory:
    """Everything known; ``serial`` grows with every change."""

    def __init__(self) -> None:
        self.serial = 1
        self.synced: set[str] = set()
        self._namespaces: set[str] = set()
        self._services: dict[Place, Object] = {}
        self._slices: dict[Place, dict[str, Object]] = {}  # (namespace, service) → slice name → slice
        self._owner: dict[Place, Place] = {}  # (namespace, slice name) → (namespace, service)
        self._cluster_ips: dict[str, dict[Place, None]] = {}
        self._endpoint_ips: dict[str, dict[Place, int]] = {}  # address → Service → in how many slices

    def event(self, plural: str, kind: str, value: Any) -> None:
        """Take in an event of ``Client.watch`` on services, endpointslices or namespaces."""
        self.serial = self.serial % 0xFFFFFFFF + 1
        puts = {"services": self._service, "endpointslices": self._slice, "namespaces": self._namespace}
        put = puts[plural]
        if kind == "SYNC":
            self.synced.add(plural)
            held = {"services": set(self._services), "endpointslices": set(self._owner),
                    "namespaces": {("", name) for name in self._namespaces}}
            for place in held[plural] - {_place(item) for item in value}:
                put(place, None)
            for item in value:
                put(_place(item), item)
        else:
            put(_place(value), None if kind == "DELETED" else value)

    def service(self, place: Place) -> Object | None:
        """The Service at ``place``, or None."""
        return self._services.get(place)

    def has_namespace(self, name: str) -> bool:
        """Whether the namespace exists."""
        return name in self._namespaces

    def endpoints(self, place: Place) -> list[Object]:
        """The ready endpoints of a Service (those that are not ready but published are marked ready)."""
        return [endpoint for _, endpoint in self._ready(place)]

    def endpoint_ports(self, place: Place) -> list[tuple[Object, Object]]:
        """Each ready endpoint with each port of its slice."""
        return [(endpoint, port) for held, endpoint in self._ready(place) for port in held.get("ports") or ()]

    def by_cluster_ip(self, address: str) -> list[Place]:
        """The Services that have this address."""
        return list(self._cluster_ips.get(address, ()))

    def by_endpoint_ip(self, address: str) -> list[tuple[Place, Object]]:
        """The ready endpoints that have this address, with their Services."""
        return [(place, endpoint) for place in self._endpoint_ips.get(address, ()) if place in self._services
                for endpoint in self.endpoints(place) if address in map(canonical, endpoint["addresses"])]

    def _ready(self, place: Place) -> Iterator[tuple[Object, Object]]:
        for held in list(self._slices.get(place, {}).values()):
            for endpoint in held.get("endpoints") or ():
                ready = (endpoint.get("conditions") or {}).get("ready")
                if ready is not False and endpoint.get("addresses"):  # not said means ready (API reference)
                    yield held, endpoint

    def _namespace(self, place: Place, item: Object | None) -> None:
        (self._namespaces.add if item else self._namespaces.discard)(place[1])

    def _service(self, place: Place, item: Object | None) -> None:
        for ip in _ips(self._services.pop(place, None)):
            self._cluster_ips.get(ip, {}).pop(place, None)
            if not self._cluster_ips.get(ip, True):
                del self._cluster_ips[ip]
        if item is not None:
            self._services[place] = item
            for ip in _ips(item):
                self._cluster_ips.setdefault(ip, {})[place] = None

    def _slice(self, place: Place, item: Object | None) -> None:
        owner = self._owner.pop(place, None)
        if owner is not None:
            self._count(owner, self._slices[owner].pop(place[1]), -1)
            if not self._slices[owner]:
                del self._slices[owner]
        name = ((item or {}).get("metadata", {}).get("labels") or {}).get(_SERVICE_LABEL)
        if item is None or not name or item.get("addressType") not in ("IPv4", "IPv6"):
            return
        owner = (place[0], name)
        self._owner[place] = owner
        self._slices.setdefault(owner, {})[place[1]] = item
        self._count(owner, item, 1)

    def _count(self, owner: Place, held: Object, by: int) -> None:
        for ip in {canonical(ip) for e in held.get("endpoints") or () for ip in e.get("addresses") or ()}:
            places = self._endpoint_ips.setdefault(ip, {})
            places[owner] = places.get(owner, 0) + by
            if places[owner] <= 0:
                del places[owner]
            if not places:
                del self._endpoint_ips[ip]


def canonical(address: str) -> str:
    """An address in its one canonical form; text that is none stays as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _place(item: Object) -> Place:
    meta = item["metadata"]
    return meta.get("namespace") or "", meta["name"]


def _ips(service: Object | None) -> set[str]:
    spec: Object = (service or {}).get("spec") or {}
    found = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return {canonical(ip) for ip in found if ip and ip != "None" and spec.get("type") != "ExternalName"}
