"""What must happen to a flow, told by the API's objects alone: written from the rules, not from the proxy.

Sources: kubernetes.io on virtual IPs and on topology aware routing; KEP-1669 (terminating endpoints),
KEP-2086 (internalTrafficPolicy), KEP-1860 (ipMode), KEP-2433 and KEP-3015 (hints).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

Object = dict[str, Any]
REFUSED, SILENT, NO_ANSWER = "refused", "timeout", "no answer"
HERE, ZONE, FIRST_NODE_PORT = "here", "a", 30_000


class Pod(NamedTuple):
    """A backend: its node and addresses."""

    node: str
    address: dict[int, str]


PODS = {
    "pod0": Pod("here", {4: "10.42.0.2", 6: "fd42::2"}),
    "pod1": Pod("here", {4: "10.42.0.3", 6: "fd42::3"}),
    "away0": Pod("there", {4: "10.42.1.2", 6: "fd42:0:0:1::2"}),
    "away1": Pod("there", {4: "10.42.1.3", 6: "fd42:0:0:1::3"}),
}
NAMES = {address: name for name, pod in PODS.items() for address in pod.address.values()}
CLUSTER_IPS = {4: ["10.43.0.5", "10.43.0.6", "10.43.0.7"], 6: ["fd43::5", "fd43::6", "fd43::7"]}
EXTERNAL_IPS = {4: [f"203.0.113.{n}" for n in (5, 6, 7)], 6: [f"2001:db8::{n}" for n in (5, 6, 7)]}
VIRTUAL_IPS = {4: [f"192.168.9.{n}" for n in (5, 6, 7)], 6: [f"fd09::{n}" for n in (5, 6, 7)]}
NODE_IPS = {4: ("192.168.2.114", "10.42.0.1"), 6: ("fd02::114", "fd42::1")}  # first: the Node's status
LOCALHOST = {4: "127.0.0.1", 6: "::1"}
SOURCES = {
    4: {"pod0": "10.42.0.2", "outside": "192.168.2.50", "": "192.168.2.114"},
    6: {"pod0": "fd42::2", "outside": "fd02::50", "": "fd02::114"},
}


class Traits(NamedTuple):
    """What a mode declares of itself where modes may differ."""

    every_address: bool  # node ports on all addresses of the node
    localhost: tuple[int, ...]  # families in which node ports answer on loopback
    keeps_source: bool  # endpoints see the client's own address where Kubernetes promises it
    refuses_own: bool = True  # the node's own connections to external addresses without endpoints


class Flow(NamedTuple):
    """One attempt: from where (a pod, the host outside, or "" for the node), and to what."""

    client: str
    protocol: str
    address: str
    port: int

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


class Fate(NamedTuple):
    """What may happen: an answer by one of ``backends`` ("name:port"), or one of ``ends``. ``source`` is the
    address the backend must see, where one is promised. ``sticky``: the same backend every time."""

    backends: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    source: str = ""
    sticky: bool = False


def fate(services: Iterable[Object], slices: Sequence[Object], flow: Flow, traits: Traits) -> Fate:
    """What must become of ``flow``."""
    for service in services:
        for port in service["spec"]["ports"]:
            if port["protocol"].lower() == flow.protocol and flow.family in service["families"]:
                kind = _kind(service, port, flow, traits)
                if kind:
                    return _served(service, slices, port["name"], flow, kind, traits)
    return Fate(ends=frozenset((NO_ANSWER,)))


def _kind(service: Object, port: Object, flow: Flow, traits: Traits) -> str:
    """Which sort of address of this Service port the flow goes to; empty where to none."""
    spec = service["spec"]
    balancers = [i["ip"] for i in service["status"]["loadBalancer"]["ingress"] if i["ipMode"] != "Proxy"]
    if flow.port == port["port"]:
        if flow.address in spec["clusterIPs"]:
            return "inside"
        if flow.address in balancers:
            return "balancer"
        return "outside" if flow.address in spec["externalIPs"] else ""
    if not port["nodePort"] or flow.port != port["nodePort"]:
        return ""
    first, second = NODE_IPS[flow.family]
    if flow.address == LOCALHOST[flow.family]:
        return "outside" if flow.family in traits.localhost else ""
    return "outside" if flow.address == first or (flow.address == second and traits.every_address) else ""


def _served(
    service: Object, slices: Sequence[Object], port: str, flow: Flow, kind: str, traits: Traits
) -> Fate:
    spec = service["spec"]
    endpoints = _merged(service, slices, port, flow.family)
    usable = _usable(endpoints)
    refused = not usable
    if kind == "balancer" and not _allowed(spec, flow):
        return Fate(ends=frozenset((SILENT, REFUSED) if refused else (SILENT,)))
    if refused:
        own = flow.client == "" and kind != "inside" and flow.port < FIRST_NODE_PORT
        return Fate(ends=frozenset((NO_ANSWER if own and not traits.refuses_own else REFUSED,)))
    policy = spec["internalTrafficPolicy" if kind == "inside" else "externalTrafficPolicy"]
    short_cut = kind != "inside" and flow.client != "outside"  # clients of this cluster know no outside
    local = policy == "Local" and not short_cut
    pool = _usable([e for e in endpoints if e["node"] == HERE]) if local else _nearby(endpoints)
    if not pool:
        return Fate(ends=frozenset((SILENT,)))
    source = ""
    promised = flow.client == "pod0" if kind == "inside" else local
    if promised and traits.keeps_source:
        source = SOURCES[flow.family][flow.client]
    return Fate(frozenset(e["name"] for e in pool), source=source, sticky="sessionAffinity" in spec)


def _merged(service: Object, slices: Sequence[Object], port: str, family: int) -> list[Object]:
    """Endpoints of a port over all slices; of two with one address the one that is alive."""
    found: dict[str, Object] = {}
    name = service["metadata"]["name"]
    for part in slices:
        owner = part["metadata"]["labels"]["kubernetes.io/service-name"]
        if owner != name or part["addressType"] != f"IPv{family}":
            continue
        number = next(p["port"] for p in part["ports"] if p["name"] == port)
        for one in part["endpoints"]:
            told, hints = one["conditions"], one.get("hints", {})
            ready = told.get("ready") is not False
            endpoint = {
                "name": f"{NAMES[one['addresses'][0]]}:{number}",
                "node": one["nodeName"],
                "ready": ready,
                "serving": told.get("serving", ready),
                "terminating": told.get("terminating", False),
                "zones": [hint["name"] for hint in hints.get("forZones", ())],
                "nodes": [hint["name"] for hint in hints.get("forNodes", ())],
            }
            known = found.get(endpoint["name"])
            alive = (endpoint["ready"], endpoint["serving"])
            if known is None or alive > (known["ready"], known["serving"]):
                found[endpoint["name"]] = endpoint
    return list(found.values())


def _usable(endpoints: Sequence[Object]) -> list[Object]:
    ready = [e for e in endpoints if e["ready"]]
    return ready or [e for e in endpoints if e["serving"] and e["terminating"]]


def _nearby(endpoints: Sequence[Object]) -> list[Object]:
    """Hints count only when each ready endpoint has one and some name this node, or its zone."""
    ready = [e for e in endpoints if e["ready"]]
    for kind, mine in (("nodes", HERE), ("zones", ZONE)):
        near = [e for e in ready if mine in e[kind]]
        if near and all(e[kind] for e in ready):
            return near
    return _usable(endpoints)


def _allowed(spec: Object, flow: Flow) -> bool:
    ranges = [ip_network(text) for text in spec.get("loadBalancerSourceRanges", ())]
    same = [network for network in ranges if network.version == flow.family]
    source = ip_address(SOURCES[flow.family][flow.client])
    return not same or any(source in network for network in same)
