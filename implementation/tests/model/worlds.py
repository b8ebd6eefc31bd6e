"""Random Services and slices, as the API would send them, and flows to ask of whoever serves them.

Everything is drawn from small pools, so that the cases that matter (a Service without local endpoints, hints
that nobody follows, a dead twin of a live endpoint) come often.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from implementation.tests.model.oracle import (
    CLUSTER_IPS,
    EXTERNAL_IPS,
    LOCALHOST,
    NODE_IPS,
    PODS,
    VIRTUAL_IPS,
    Flow,
)

Object = dict[str, Any]
RANGES = ("192.168.2.0/24", "10.42.0.0/16", "172.16.0.0/12", "fd42::/48", "fd02::50/128")
SERVICES = len(CLUSTER_IPS[4])


class World:
    """Services, and the slices of each by its name."""

    def __init__(self, services: list[Object], slices: list[Object]) -> None:
        self.services, self.slices = services, slices

    def __repr__(self) -> str:
        return f"World({self.services!r}, {self.slices!r})"

    def of(self, service: Object) -> list[Object]:
        """The slices of a Service."""
        name = service["metadata"]["name"]
        return [one for one in self.slices if one["metadata"]["labels"]["kubernetes.io/service-name"] == name]


@st.composite
def worlds(draw: DrawFn) -> World:
    """A few Services, each with its slices."""
    services, slices = [], []
    for number in range(draw(st.integers(1, SERVICES))):
        service = draw(_services(number))
        services.append(service)
        for family in service["families"]:
            slices += draw(_slices(service, family))
    return World(services, slices)


@st.composite
def _services(draw: DrawFn, number: int) -> Object:
    families = draw(st.sampled_from(((4,), (6,), (4, 6), (4, 6))))
    ports = draw(st.lists(_ports(), min_size=1, max_size=3, unique_by=lambda p: (p["protocol"], p["port"])))
    balanced = draw(st.booleans())
    spec: Object = {
        "type": "LoadBalancer" if balanced else "NodePort",
        "clusterIPs": [CLUSTER_IPS[family][number] for family in families],
        "ports": [
            port | {"name": f"p{at}", "nodePort": 30_080 + 10 * number + at if draw(st.booleans()) else None}
            for at, port in enumerate(ports)
        ],
        "internalTrafficPolicy": draw(_policies()),
        "externalTrafficPolicy": draw(_policies()),
        "externalIPs": [EXTERNAL_IPS[f][number] for f in families] if draw(st.booleans()) else [],
    }
    if draw(st.integers(0, 3)) == 0:
        spec |= {
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 100}},
        }
    if balanced:
        spec["loadBalancerSourceRanges"] = draw(st.lists(st.sampled_from(RANGES), max_size=2, unique=True))
    mode = draw(st.sampled_from((None, "VIP", "Proxy")))
    ingress = [{"ip": VIRTUAL_IPS[family][number], "ipMode": mode} for family in families] if balanced else []
    return {
        "metadata": {"name": f"s{number}", "namespace": "default"},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress}},
        "families": families,
    }


def _policies() -> st.SearchStrategy[str]:
    return st.sampled_from(("Cluster", "Local"))


def _ports() -> st.SearchStrategy[Object]:
    return st.fixed_dictionaries({
        "protocol": st.sampled_from(("TCP", "TCP", "UDP")), "port": st.sampled_from((80, 81)),
    })  # fmt: skip


@st.composite
def _slices(draw: DrawFn, service: Object, family: int) -> list[Object]:
    """One or two slices; an endpoint of the first may have a dead twin in the second, or the other way
    round."""
    pods = draw(st.lists(st.sampled_from(sorted(PODS)), max_size=4, unique=True))
    hinted = draw(st.sampled_from(("", "", "zones", "nodes", "both")))
    endpoints = [draw(_endpoints(name, family, hinted)) for name in pods]
    split = draw(st.integers(0, len(endpoints)))
    parts = [endpoints[:split], endpoints[split:]]
    if endpoints and draw(st.integers(0, 2)) == 0:
        dead = {"ready": False, "serving": False, "terminating": True}
        parts[draw(st.integers(0, 1))].append(draw(st.sampled_from(endpoints)) | {"conditions": dead})
    ports = [
        {"name": port["name"], "protocol": port["protocol"], "port": draw(st.sampled_from((8080, 8081)))}
        for port in service["spec"]["ports"]
    ]
    name = service["metadata"]["name"]
    return [
        {
            "metadata": {
                "name": f"{name}-{family}-{at}", "namespace": "default",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": f"IPv{family}", "ports": ports, "endpoints": part,
        }
        for at, part in enumerate(parts) if part or draw(st.booleans())
    ]  # fmt: skip


@st.composite
def _endpoints(draw: DrawFn, name: str, family: int, hinted: str) -> Object:
    ready = draw(st.sampled_from((None, True, True, False)))
    conditions: Object = {} if ready is None else {"ready": ready}
    if ready is False:
        conditions |= {"serving": draw(st.booleans()), "terminating": draw(st.booleans())}
    pod = PODS[name]
    found: Object = {"addresses": [pod.address[family]], "nodeName": pod.node, "conditions": conditions}
    hints: Object = {}
    if hinted and draw(st.integers(0, 9)):  # one without a hint switches them off
        if hinted in ("zones", "both"):
            hints["forZones"] = [{"name": draw(st.sampled_from("ab"))}]
        if hinted in ("nodes", "both"):
            hints["forNodes"] = [{"name": PODS[name].node}]
    return found | ({"hints": hints} if hints else {})


def flows(world: World, family: int) -> list[Flow]:
    """Every flow that could be asked in a family, to what is served and to ports that nobody has."""
    found: dict[Flow, None] = {}
    for service in world.services:
        number = int(service["metadata"]["name"][1:])
        for port in service["spec"]["ports"]:
            protocol = port["protocol"].lower()
            for address in (
                CLUSTER_IPS[family][number],
                EXTERNAL_IPS[family][number],
                VIRTUAL_IPS[family][number],
            ):
                for client in ("pod0", "outside", ""):
                    found[Flow(client, protocol, address, port["port"])] = None
            found[Flow("pod0", protocol, CLUSTER_IPS[family][number], 82)] = None
            if port["nodePort"]:
                for client in ("pod0", "outside", ""):
                    found[Flow(client, protocol, NODE_IPS[family][0], port["nodePort"])] = None
                found[Flow("pod0", protocol, NODE_IPS[family][1], port["nodePort"])] = None
                found[Flow("", protocol, LOCALHOST[family], port["nodePort"])] = None
    return list(found)
