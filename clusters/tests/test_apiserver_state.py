"""Pools, rules and the store by themselves: numbers once only, nothing forgotten unsaid, any bytes judged."""

from __future__ import annotations

import ipaddress
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.apiserver.allocation import Full, Pool, address_pool, port_pool
from clusters.apiserver.builtin import RESOURCES, builtin, find
from clusters.apiserver.deletion import DeleteOptions
from clusters.apiserver.patch import MERGE
from clusters.apiserver.registry import Registry, standard_store
from clusters.apiserver.service_allocation import Allocator
from clusters.apiserver.shapes import parse_json, shaped
from clusters.apiserver.status import Refused
from clusters.apiserver.store import Log

PODS, MAPS, SERVICES = (find("", "v1", plural) for plural in ("pods", "configmaps", "services"))
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text("abxyz", max_size=3)
KEYS = st.sampled_from(["a", "b", "name", "spec", "metadata", "containers", "ports", "port", "$patch", "env"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)


def registry(
    history: int = 1000, cidr: str = "10.43.0.0/24", ports: tuple[int, int] = (30000, 30050)
) -> Registry:
    rng = random.Random(1)
    made = Registry(
        standard_store(history), Allocator([ipaddress.ip_network(cidr)], ports, {}, rng), lambda: 0.0, rng
    )
    made.create(find("", "v1", "namespaces"), "", {"metadata": {"name": "default"}})
    return made


@given(
    st.lists(st.tuples(st.sampled_from(["next", "take", "release"]), st.integers(90, 125)), max_size=60),
    st.integers(0, 10),
)
def test_a_pool_never_gives_a_number_twice(steps: Any, band: int) -> None:
    pool, held = Pool(100, 115, band, random.Random(3), kept=[104]), set()
    for step, number in steps:
        if step == "next":
            try:
                given_number = pool.next()
            except Full:
                assert held >= set(range(100, 116)) - {104}
                continue
            assert given_number in pool and given_number not in held and given_number != 104
            held.add(given_number)
        elif step == "take" and number in pool:
            assert pool.take(number) is (number not in held)
            held.add(number)
        elif step == "release":
            pool.release(number)
            held.discard(number)
    assert pool.taken == held


def test_numbers_nobody_asked_for_come_from_the_upper_band_first() -> None:
    addresses = address_pool(ipaddress.ip_network("10.43.0.0/16"), random.Random(1))
    assert (addresses.first, addresses.last, addresses.band) == (
        int(ipaddress.ip_address("10.43.0.1")),
        int(ipaddress.ip_address("10.43.255.254")),
        256,
    )
    ports = port_pool(30000, 32767, random.Random(1))
    assert ports.band == 86
    assert all(ports.next() >= 30086 for _ in range(200))
    small = port_pool(30000, 30009, random.Random(1))
    assert sorted(small.next() for _ in range(10)) == list(range(30000, 30010))


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Odd", ""]),
        "ports": st.lists(
            st.fixed_dictionaries(
                {"port": st.sampled_from([0, 53, 80, 70000])},
                optional={
                    "name": st.sampled_from(["a", "b", "B", ""]),
                    "protocol": st.sampled_from(["TCP", "UDP", "X"]),
                    "nodePort": st.sampled_from([0, 29999, 30000, 30001, 30002]),
                    "targetPort": st.sampled_from([0, 80, "web", "-"]),
                },
            ),
            max_size=3,
        ),
        "clusterIP": st.sampled_from(["", "None", "10.43.0.5", "10.43.0.6", "1.2.3.4", "x", "fd00::1"]),
        "clusterIPs": st.lists(st.sampled_from(["None", "10.43.0.5", "fd00::1", ""]), max_size=2),
        "externalTrafficPolicy": st.sampled_from(["", "Local", "Cluster", "X"]),
        "externalName": st.sampled_from(["", "a.b"]),
        "sessionAffinity": st.sampled_from(["None", "ClientIP", "X"]),
        "healthCheckNodePort": st.sampled_from([0, 30001, 5]),
        "ipFamilies": st.lists(st.sampled_from(["IPv4", "IPv6", "X"]), max_size=2),
        "selector": st.just({"a": "b"}),
        "ipFamilyPolicy": st.sampled_from(["SingleStack", "PreferDualStack", "RequireDualStack", "X"]),
        "allocateLoadBalancerNodePorts": st.booleans(),
    },
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["create", "put", "merge", "delete"]), st.sampled_from(["s", "t"]), SPECS),
        max_size=8,
    )
)
@settings(max_examples=150, deadline=None)
def test_the_pools_hold_what_the_services_show_whatever_is_asked(steps: Any) -> None:
    cluster = registry()
    for operation, name, spec in steps:
        key = ("default", name)
        try:
            if operation == "create":
                cluster.create(SERVICES, "default", {"metadata": {"name": name}, "spec": spec})
            elif operation == "put":
                cluster.update(SERVICES, key, {"metadata": {"name": name}, "spec": spec})
            elif operation == "merge":
                cluster.patch(SERVICES, key, "application/merge-patch+json", {"spec": spec})
            else:
                cluster.delete(SERVICES, key, _options())
        except Refused as refused:
            assert refused.code in {404, 409, 422, 500} and "Error:" not in refused.message
        specs = [entry.object["spec"] for _, entry in cluster.store.select(SERVICES)]
        ports = {port["nodePort"] for spec in specs for port in spec.get("ports", ()) if "nodePort" in port}
        ports |= {spec["healthCheckNodePort"] for spec in specs if "healthCheckNodePort" in spec}
        addresses = [ip for spec in specs for ip in spec.get("clusterIPs", ()) if ip != "None"]
        assert cluster.allocator.ports.pool.taken == ports
        assert cluster.allocator.addresses["IPv4"].taken == {
            int(ipaddress.ip_address(ip)) for ip in addresses
        }
        assert len(set(addresses)) == len(addresses)


def _options() -> DeleteOptions:
    return DeleteOptions()


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_an_object_or_a_refusal(data: bytes) -> None:
    for resource in (kind for kind in RESOURCES if not kind.is_review):
        if resource.stored_as:
            continue
        try:
            obj, _ = shaped(resource, parse_json(data))
        except Refused as refused:
            assert refused.code == 400 and refused.message
        else:
            assert isinstance(obj["metadata"], dict)


@given(JSON, JSON, JSON)
@settings(deadline=None)
def test_any_object_is_stored_or_refused(spec: Any, metadata: Any, status: Any) -> None:
    cluster = registry()
    for resource in (kind for kind in RESOURCES if not kind.is_review):
        if resource.stored_as:
            continue
        value = {
            "metadata": {"name": "x", **(metadata if isinstance(metadata, dict) else {})},
            "spec": spec,
            "status": status,
        }
        try:
            cluster.create(resource, "default" if resource.namespaced else "", value)
        except Refused as refused:
            assert refused.code in {400, 404, 409, 422}


@given(st.integers(2, 12), st.lists(st.sampled_from(["a", "b", "c"]), max_size=40))
def test_the_log_gives_every_later_event_or_says_that_it_cannot(history: int, writes: list[str]) -> None:
    cluster = registry(history)
    versions, log = [cluster.store.version], cluster.store.log(MAPS)
    for number, name in enumerate(writes):
        key = ("default", name)
        if cluster.store.get(MAPS, key) is None:
            cluster.create(MAPS, "default", {"metadata": {"name": name}})
        else:
            cluster.patch(MAPS, key, "application/merge-patch+json", {"data": {"n": str(number)}})
        versions.append(cluster.store.version)
    for index, version in enumerate(versions):
        position = log.position_after(version)
        if position is None:
            assert version < log.low_water
        else:
            assert [event.version for event in log.read(position)] == versions[index + 1 :]


def test_a_forgotten_position_reads_as_none() -> None:
    cluster = registry(history=4)
    log: Log = cluster.store.log(MAPS)
    for number in range(10):
        cluster.create(MAPS, "default", {"metadata": {"name": f"m{number}"}})
    assert log.read(0) is None and log.read(log.end) == []


def test_the_past_is_what_was_listed_then() -> None:
    cluster = registry()
    for name in "abc":
        cluster.create(MAPS, "default", {"metadata": {"name": name}})
    then = cluster.store.version
    listed = list(cluster.store.select(MAPS))
    cluster.patch(MAPS, ("default", "b"), "application/merge-patch+json", {"data": {"x": "1"}})
    cluster.delete(MAPS, ("default", "a"), _options())
    cluster.create(MAPS, "default", {"metadata": {"name": "d"}})
    assert cluster.store.past(MAPS, then) == listed


def test_a_refused_request_changes_nothing() -> None:
    cluster = registry()
    before = cluster.store.version
    with pytest.raises(Refused):
        cluster.create(MAPS, "default", {"metadata": {"name": "Bad Name"}})
    assert cluster.store.version == before and cluster.store.get(MAPS, ("default", "Bad Name")) is None


def test_an_event_lasts_an_hour_from_its_last_writing() -> None:
    clock = [0.0]
    networks = (ipaddress.ip_network("10.43.0.0/16"),)
    kept = Registry(standard_store(100), Allocator(networks, (30000, 32767)), lambda: clock[0])
    kept.create(builtin("", "v1", "namespaces"), "", {"metadata": {"name": "default"}})
    events = builtin("", "v1", "events")

    def told(name: str) -> None:
        about = {"kind": "Pod", "name": "p", "namespace": "default"}
        kept.create(events, "default", {"metadata": {"name": name}, "involvedObject": about})

    told("old")
    told("renewed")
    clock[0] = 3000.0
    kept.patch(events, ("default", "renewed"), MERGE, {"count": 2})
    clock[0] = 3600.0
    told("new")
    assert [key[1] for key, _ in kept.store.select(events)] == ["new", "renewed"]
