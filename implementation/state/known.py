"""What is known of the API, and what follows from it for this node.

Kept up to date one object at a time; only Services that changed are decided anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import TypeVar

import msgspec

from implementation.objects import EndpointSlice, ObjectError, Service, parse_node, parse_service, parse_slice
from implementation.state import serve
from implementation.state.desired import Desired, ServedService, ServiceKey, ThisNode

T = TypeVar("T")
DELETED = "DELETED"


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Head(msgspec.Struct):
    metadata: _Meta


_heads = msgspec.json.Decoder(_Head)


class Known:
    """Services, slices and the Node. ``complaints`` collects sentences about what cannot be served."""

    def __init__(self, node: str, addresses: tuple[str, ...] = ()) -> None:
        self.node = ThisNode(node, addresses)
        self.eligible = True
        self.complaints: list[str] = []
        self.changed: set[ServiceKey] = set()
        self.seen = {"service": 0, "endpoint": 0}  # changes since the start, by kind
        self.decided = dict(self.seen)  # of those, the ones in what was last desired
        self.triggers: list[str] = []  # times at which changes of endpoints began, RFC 3339
        self._fixed_addresses = addresses
        self._services: dict[ServiceKey, Service] = {}
        self._slices: dict[ServiceKey, dict[str, EndpointSlice]] = {}
        self._owner: dict[ServiceKey, ServiceKey] = {}  # slice → its Service
        self._served: dict[ServiceKey, ServedService] = {}
        self._decided: set[ServiceKey] = set()  # anew since the last handing out
        self._listed: dict[str, set[ServiceKey]] = {}  # what is in the parts of an unfinished list

    def see_service(self, event: str, raw: msgspec.Raw) -> None:
        """One Service was added, modified or deleted. One that cannot be used counts as deleted."""
        self._put_service(*self._service(event, raw))

    def see_services(self, raws: Sequence[msgspec.Raw], *, first: bool = True, last: bool = True) -> None:
        """All Services there are, or a part of them, from the ``first`` to the ``last``."""
        found = dict(self._service("MODIFIED", raw) for raw in raws)
        for key in self._gone("services", self._services, found, first=first, last=last):
            self._put_service(key, None)
        for key, service in found.items():
            self._put_service(key, service)

    def see_slice(self, event: str, raw: msgspec.Raw) -> None:
        """One EndpointSlice was added, modified or deleted."""
        self._put_slice(*self._slice(event, raw))

    def see_slices(self, raws: Sequence[msgspec.Raw], *, first: bool = True, last: bool = True) -> None:
        """All EndpointSlices there are, or a part of them."""
        found = dict(self._slice("MODIFIED", raw) for raw in raws)
        for key in self._gone("slices", self._owner, found, first=first, last=last):
            self._put_slice(key, None)
        for key, part in found.items():
            self._put_slice(key, part)

    def see_node(self, event: str, raw: msgspec.Raw) -> None:
        """This Node changed; when facts that decisions depend on changed, every Service is decided anew."""
        if event == DELETED:
            return  # the node is told by its own kubelet; what is served stays served
        found = self._parsed("Node", parse_node, raw)
        if found is None:
            return
        self.eligible = found.eligible
        node = ThisNode(self.node.name, self._fixed_addresses or found.addresses, found.zone)
        if node != self.node:
            self.node = node
            self.changed |= set(self._services)

    def see_nodes(self, raws: Sequence[msgspec.Raw], **_parts: bool) -> None:
        """The Node as a list of one, or of none while it is not registered."""
        for raw in raws:
            self.see_node("MODIFIED", raw)

    def decide(self) -> dict[ServiceKey, ServedService]:
        """Decide every Service that changed; gives those of them that are there."""
        changed, self.changed = self.changed, set()
        for key in changed:
            service = self._services.get(key)
            if service is None:
                self._served.pop(key, None)
            else:
                self._served[key] = serve.serve(service, self._slices.get(key, {}).values(), self.node)
        self._decided |= changed
        return {key: self._served[key] for key in changed if key in self._served}

    def desired(self, node_port_addresses: tuple[str, ...] | None = None) -> Desired:
        """What must be served now; decides every Service that changed since the last call.

        The Services in it are those of here, not a copy, which would cost time with each of them: they change
        with the next call, so a data plane must have ended its apply before.
        """
        self.decide()
        self.decided = dict(self.seen)
        decided, self._decided = frozenset(self._decided), set()
        return Desired(MappingProxyType(self._served), node_port_addresses, decided)

    def _gone(
        self, kind: str, known: Iterable[ServiceKey], found: Iterable[ServiceKey], *, first: bool, last: bool
    ) -> set[ServiceKey]:
        """With the last part of a list, what is known and was in none of its parts."""
        listed = set() if first else self._listed.pop(kind, set())
        listed.update(found)
        if last:
            return set(known) - listed
        self._listed[kind] = listed
        return set()

    def _service(self, event: str, raw: msgspec.Raw) -> tuple[ServiceKey, Service | None]:
        found = None if event == DELETED else self._parsed("Service", parse_service, raw)
        return (_key(raw), None) if found is None else (found.key, found)

    def _slice(self, event: str, raw: msgspec.Raw) -> tuple[ServiceKey, EndpointSlice | None]:
        found = None if event == DELETED else self._parsed("EndpointSlice", parse_slice, raw)
        return (_key(raw), None) if found is None else ((found.namespace, found.name), found)

    def _put_service(self, key: ServiceKey, service: Service | None) -> None:
        """Record a Service, or take it away."""
        if service == self._services.get(key):
            return
        if service is None:
            del self._services[key]
        else:
            self._complain("Service", key, service.doubts)
            self._services[key] = service
        self.seen["service"] += 1
        self.changed.add(key)

    def _put_slice(self, key: ServiceKey, part: EndpointSlice | None) -> None:
        """Record a slice under its Service, or take it away; a slice may move from one Service to another."""
        owner = self._owner.get(key)
        old = self._slices[owner].get(key[1]) if owner else None
        if part == old:
            return
        self.seen["endpoint"] += 1
        if owner:
            del self._slices[owner][key[1]], self._owner[key]
            if not self._slices[owner]:
                del self._slices[owner]
            self.changed.add(owner)
        if part is not None:
            self._complain("EndpointSlice", key, part.doubts)
            owner = (part.namespace, part.service)
            self._slices.setdefault(owner, {})[part.name] = part
            self._owner[key] = owner
            self.changed.add(owner)
            if part.triggered:
                self.triggers.append(part.triggered)

    def _parsed(
        self,
        kind: str,
        parse: Callable[[msgspec.Raw], T | None],
        raw: msgspec.Raw,
    ) -> T | None:
        try:
            return parse(raw)
        except ObjectError as error:
            self._complain(kind, _key(raw), (f"{error}; the object is not served",))
            return None

    def _complain(self, kind: str, key: ServiceKey, sentences: Sequence[str]) -> None:
        self.complaints += [f"{kind} {ascii('/'.join(key))[1:-1]}: {sentence}" for sentence in sentences]


def _key(raw: msgspec.Raw) -> ServiceKey:
    try:
        meta = _heads.decode(raw).metadata
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ("", "")
    return (meta.namespace, meta.name)
