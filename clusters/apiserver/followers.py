"""What a write or a removal brings with it, as Kubernetes' own controllers would a moment later.

A namespace gets its ServiceAccount and the certificate to trust; a Service's addresses get their IPAddress
objects; a CustomResourceDefinition makes its kinds served, and takes their objects with it when it goes; an
Event lasts an hour.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from clusters.apiserver import definitions
from clusters.apiserver.builtin import builtin
from clusters.apiserver.deletion import DeleteOptions
from clusters.apiserver.resources import Resource
from clusters.apiserver.service_networks import ADDRESSES, NETWORKS, ServiceNetworks
from clusters.apiserver.store import Key

if TYPE_CHECKING:
    from clusters.apiserver.registry import Registry

Object = dict[str, Any]
_ACCOUNTS, _MAPS = builtin("", "v1", "serviceaccounts"), builtin("", "v1", "configmaps")
_NAMESPACES = builtin("", "v1", "namespaces")
_DEFINITIONS = builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_EVENTS = builtin("", "v1", "events")
_EVENT_SECONDS = 3600.0
_ROOT_CA = "kube-root-ca.crt"
_ROOT_CA_WORDS = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such "
    "as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions "
    "of Kubernetes clusters."
)


class Followers:
    """Keeps up what follows from other objects. ``root_ca``: PEM text pods trust; empty: no maps of it."""

    def __init__(self, registry: Registry, root_ca: str) -> None:
        self._registry, self._root_ca = registry, root_ca
        self._networks = ServiceNetworks(registry)
        self._events: OrderedDict[Key, float] = OrderedDict()  # when each was written last, oldest first

    def written(self, resource: Resource, key: Key, obj: Object) -> None:
        """To be called after every write."""
        if resource is _NAMESPACES:
            if "deletionTimestamp" not in obj["metadata"]:
                self._furnish(key[1])
        elif resource.core_kind == "Service":
            self._networks.serve(key, obj)
        elif resource is _EVENTS:
            self._age(key)
        elif resource is NETWORKS:
            self._networks.network_written(key, obj)
        elif resource is ADDRESSES:
            self._networks.address_written(key[1])
        elif resource is _DEFINITIONS:
            self._define(key, obj)

    def removed(self, resource: Resource, key: Key, obj: Object) -> None:
        """To be called after every removal."""
        if resource.core_kind == "Service":
            self._networks.serve(key, None)
        elif resource is ADDRESSES:
            self._networks.address_removed(key[1])
        elif resource is _DEFINITIONS:
            self._undefine(obj)
        elif resource in {_ACCOUNTS, _MAPS} and key[1] in {"default", _ROOT_CA}:
            home = self._registry.store.get(_NAMESPACES, ("", key[0]))
            if home is not None and "deletionTimestamp" not in home.object["metadata"]:
                self._furnish(key[0])

    def adopt(self, resource: Resource, key: Key, obj: Object) -> None:
        """Takes on an object of an earlier life: what follows from it is there."""
        if resource.core_kind == "Service":
            self._networks.adopt(key, obj)
        elif resource is _EVENTS:
            self._events[key] = self._registry.now()
        elif resource is NETWORKS:
            self._networks.adopt_network(key, obj)
        elif resource is ADDRESSES:
            self._networks.address_written(key[1])

    def leaving(self, resource: Resource, key: Key) -> None:
        """To be called after an object was marked for deletion."""
        if resource is NETWORKS:
            self._networks.network_leaves(key)

    def _age(self, key: Key) -> None:
        """Notes that an Event was written, and removes those nobody wrote for an hour (``--event-ttl``)."""
        now = self._registry.now()
        self._events.pop(key, None)
        self._events[key] = now
        while self._events and next(iter(self._events.values())) + _EVENT_SECONDS <= now:
            old, _ = self._events.popitem(last=False)
            if self._registry.store.get(_EVENTS, old) is not None:
                self._registry.delete(_EVENTS, old, DeleteOptions())

    def _furnish(self, namespace: str) -> None:
        store = self._registry.store
        if store.get(_ACCOUNTS, (namespace, "default")) is None:
            self._registry.create(_ACCOUNTS, namespace, {"metadata": {"name": "default"}})
        if self._root_ca and store.get(_MAPS, (namespace, _ROOT_CA)) is None:
            metadata = {"name": _ROOT_CA, "annotations": {"kubernetes.io/description": _ROOT_CA_WORDS}}
            told = {"metadata": metadata, "data": {"ca.crt": self._root_ca}}
            self._registry.create(_MAPS, namespace, told)

    def _define(self, key: Key, obj: Object) -> None:
        store = self._registry.store
        for resource in definitions.resources(obj):
            store.serve(resource)
        if not (obj.get("status") or {}).get("conditions"):
            now = obj["metadata"]["creationTimestamp"]
            store.put(_DEFINITIONS, key, {**obj, "status": definitions.established(obj, now)})

    def _undefine(self, obj: Object) -> None:
        store = self._registry.store
        for resource in reversed(definitions.resources(obj)):
            if not resource.stored_as:
                for key, _ in list(store.select(resource)):
                    if store.get(resource, key) is not None:
                        self._registry.delete(resource, key, DeleteOptions())
            store.serve_no_more(resource)
