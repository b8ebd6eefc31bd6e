"""The same Service, and the same changes of it, given to two API servers; what differs in their answers.

Values that a server chooses (addresses, node ports) are compared as symbols, in the order in which each
server gave them. What a case asks for by number lies in the bands that Kubernetes keeps for that, so that no
choice of a server stands in its way.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from hypothesis import strategies as st

Object = dict[str, Any]
SERVICES = "/api/v1/namespaces/default/services"
_OWN = ("uid", "creationTimestamp", "resourceVersion", "managedFields")
_ADDRESS = re.compile(r"\b10\.43\.\d+\.\d+\b")
_PORT = re.compile(r"\b3[0-2]\d{3}\b")
# The lowest 256 addresses and 86 ports are for who asks by number: "IPs and node ports, static band".
_ASKED_ADDRESSES = [f"10.43.0.{number}" for number in (77, 78, 79)]
_ASKED_PORTS = [30001, 30002, 30003]
_RANGE = "30000-32767"  # in messages


@dataclass(frozen=True)
class Case:
    """One Service and what is done to it after it was made: each change is a merge patch."""

    made: Object
    changes: tuple[Object, ...] = ()

    def told(self) -> str:
        """The case as JSON, to be read in a report."""
        return json.dumps({"create": self.made, "then": list(self.changes)})


@dataclass
class Answer:
    """What one server said to one request, without what is its own."""

    status: int
    body: Any


@dataclass
class Server:
    """One API server, and the symbols of what it has chosen in this case."""

    url: str
    token: str
    ca: str
    symbols: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False  # proxies and authorities of whoever runs this do not matter here
        self.session.verify = self.ca
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def ask(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json",
    ) -> Answer:
        """One request, its answer in symbols."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        told = self.session.request(method, self.url + path, data=data, headers=headers, timeout=30)
        return Answer(told.status_code, self.plain(told.json()))

    def plain(self, body: Any) -> Any:
        """A body without what differs between any two runs, choices as symbols."""
        body = copy.deepcopy(body)
        if isinstance(body, dict):
            for name in _OWN:
                body.get("metadata", {}).pop(name, None)
            if isinstance(body.get("details"), dict):
                body["details"].pop("uid", None)
        text = json.dumps(body, sort_keys=True).replace(_RANGE, "RANGE")
        text = _ADDRESS.sub(self._symbol, text)
        return json.loads(_PORT.sub(self._symbol, text))

    def _symbol(self, found: re.Match[str]) -> str:
        text = found[0]
        if text in _ASKED_ADDRESSES or (text.isdigit() and int(text) in _ASKED_PORTS):
            return text
        number = len(self.symbols)  # a port's symbol is a number too, as it stands where JSON has numbers
        return self.symbols.setdefault(text, f"{90000 + number}" if text.isdigit() else f"address-{number}")


def differences(ours: Server, real: Server, case: Case, name: str) -> list[str]:
    """Carry out a case on both; gives a line for each answer that differs."""
    found: list[str] = []
    for server in (ours, real):
        server.symbols.clear()
    made = copy.deepcopy(case.made)
    made["metadata"] = {"name": name, **made.get("metadata", {})}
    path = f"{SERVICES}/{made['metadata']['name']}"
    try:
        found += compare("create", ours.ask("POST", SERVICES, made), real.ask("POST", SERVICES, made))
        for number, change in enumerate(case.changes, 1):
            kind = "application/merge-patch+json"
            pair = (ours.ask("PATCH", path, change, kind), real.ask("PATCH", path, change, kind))
            found += compare(f"change {number}", *pair)
    finally:
        for server in (ours, real):
            server.ask("DELETE", path)
    return found


def compare(step: str, ours: Answer, real: Answer) -> list[str]:
    """What differs between two answers: the status alone, else the faults told, else each field."""
    if ours.status != real.status:
        return [f"{step}: status {ours.status} here, {real.status} there: {said(ours)} | {said(real)}"]
    here, there = faults(ours), faults(real)
    if here != there:
        return [*(f"{step}: only here: {one}" for one in here if one not in there),
                *(f"{step}: only there: {one}" for one in there if one not in here)] or [
                    f"{step}: in another order or number: {here} here, {there} there"]
    return [f"{step}: {where}: {here!r} here, {there!r} there"
            for where, (here, there) in sorted(apart(ours.body, real.body).items())]


def faults(answer: Answer) -> list[str]:
    """Each fault a refusal tells of, field and words."""
    details = answer.body.get("details") if answer.status >= 300 else None
    return [f"{one.get('field')}: {one.get('message')}" for one in (details or {}).get("causes") or ()]


def said(answer: Answer) -> str:
    """The message of a refusal, or that there was none."""
    return str(answer.body.get("message", "")) if answer.status >= 300 else "accepted"


_NOTHING = "(nothing)"


def apart(ours: Any, real: Any, where: str = "") -> Mapping[str, tuple[Any, Any]]:
    """The paths at which two JSON values differ, with both values."""
    if isinstance(ours, dict) and isinstance(real, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for name in {*ours, *real}:
            inside = f"{where}.{name}" if where else str(name)
            found |= apart(ours.get(name, _NOTHING), real.get(name, _NOTHING), inside)
        return found
    if isinstance(ours, list) and isinstance(real, list) and len(ours) == len(real):
        return {key: value for number, pair in enumerate(zip(ours, real, strict=True))
                for key, value in apart(*pair, f"{where}[{number}]").items()}
    return {} if ours == real else {where: (ours, real)}


# ---------------------------------------------------------------- what is asked

_TEXTS = st.sampled_from(["", "http", "HTTP", "a-b", "x" * 16, "x" * 64, "1a", "a.b", "-", "ü", "9", "a_b"])
_PORTS = st.one_of(st.sampled_from([80, 443, 8080]), st.sampled_from([0, -1, 1, 65535, 65536]))
_NODE_PORTS = st.sampled_from([*_ASKED_PORTS, 0, 29999, 32768, -1])
_ADDRESSES = st.sampled_from([
    *_ASKED_ADDRESSES, "", "None", "10.42.0.1", "10.43.0.1", "10.43.0.0", "bogus", "fd00::1",
    "010.043.0.5", "::"])
_FAMILIES = st.sampled_from(["IPv4", "IPv6", "ipv4", ""])
_NETWORKS = st.sampled_from(["10.0.0.0/8", "192.168.1.1", "10.0.0.1/8", " 10.0.0.0/8", "fd00::/64", "x", ""])


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


_PORT_OBJECTS = st.builds(
    lambda needed, more: {**needed, **more}, st.fixed_dictionaries({"port": _PORTS}),
    _maybe(name=_TEXTS, protocol=st.sampled_from(["TCP", "UDP", "SCTP", "tcp", "", "ICMP"]),
           targetPort=st.one_of(_TEXTS, _PORTS), nodePort=_NODE_PORTS,
           appProtocol=st.sampled_from(["http", "kubernetes.io/h2c", "bad value", "", "a/b/c"])))
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Bogus", ""]),
    "ports": st.lists(_PORT_OBJECTS, max_size=3),
    "clusterIP": _ADDRESSES,
    "clusterIPs": st.lists(_ADDRESSES, max_size=2),
    "selector": st.dictionaries(_TEXTS, _TEXTS, max_size=1),
    "externalName": st.sampled_from(["example.org", "example.org.", "UPPER", "", "a_b.c", "1.2.3.4"]),
    "externalIPs": st.lists(
        st.sampled_from(["198.51.100.7", "127.0.0.1", "0.0.0.0", "x", "fd00::9"]), max_size=2),
    "loadBalancerIP": st.sampled_from(["192.168.2.200", "x", ""]),
    "loadBalancerSourceRanges": st.lists(_NETWORKS, max_size=2),
    "loadBalancerClass": st.sampled_from(["example.org/lb", "internal-vip", "bad value", "", "a/b/c"]),
    "allocateLoadBalancerNodePorts": st.booleans(),
    "sessionAffinity": st.sampled_from(["ClientIP", "None", "clientip", ""]),
    "sessionAffinityConfig": st.sampled_from([
        None, {}, {"clientIP": {}}, {"clientIP": {"timeoutSeconds": 10}}, {"clientIP": {"timeoutSeconds": 0}},
        {"clientIP": {"timeoutSeconds": 86401}}]),
    "externalTrafficPolicy": st.sampled_from(["Local", "Cluster", "local", ""]),
    "internalTrafficPolicy": st.sampled_from(["Local", "Cluster", "local", ""]),
    "healthCheckNodePort": _NODE_PORTS,
    "publishNotReadyAddresses": st.booleans(),
    "ipFamilies": st.lists(_FAMILIES, max_size=2),
    "ipFamilyPolicy": st.sampled_from(["SingleStack", "PreferDualStack", "RequireDualStack", "", "Any"]),
    "trafficDistribution": st.sampled_from(["PreferClose", "PreferSameZone", "PreferSameNode", "Any", ""]),
}
_LIKELY = {"type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]),
           "ports": st.just([{"port": 80}])}


@st.composite
def specs(draw: st.DrawFn, most: int = 3) -> Object:
    """A spec that is right but for at most ``most`` fields of any value: so each fault is told apart."""
    names = draw(st.lists(st.sampled_from(sorted(_FIELDS)), max_size=most, unique=True))
    spec = {name: draw(value) for name, value in _LIKELY.items()}
    return spec | {name: draw(_FIELDS[name]) for name in names}


@st.composite
def changes(draw: st.DrawFn) -> Object:
    """A merge patch: a few fields set, or taken away."""
    names = draw(st.lists(st.sampled_from(sorted(_FIELDS)), min_size=1, max_size=2, unique=True))
    return {"spec": {name: draw(st.one_of(_FIELDS[name], st.none())) for name in names}}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case."""
    made: Object = {"apiVersion": "v1", "kind": "Service", "spec": draw(specs())}
    if draw(st.integers(0, 19)) == 0:
        made["metadata"] = draw(_maybe(
            name=st.sampled_from(["Upper", "1st", "a.b", "x" * 64, "-a"]),
            labels=st.dictionaries(_TEXTS, _TEXTS, max_size=1),
            annotations=st.dictionaries(_TEXTS, _TEXTS, max_size=1)))
    return Case(made, tuple(draw(st.lists(changes(), max_size=2))))
