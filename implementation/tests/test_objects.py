"""What the API sends becomes checked values or a typed error, whatever it is."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation.objects import ObjectError, Service, parse_node, parse_service, parse_slice
from implementation.tests.build import raw, service_json, slice_json

EVIL = ["web; reboot", 'a"b', "a\nb", "-j ACCEPT", "A", "", "ä", "a" * 300, "a/b", "..", "a -j DROP"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 99999)
    | st.text(max_size=8)
    | st.sampled_from([*EVIL, "1.2.3.4"])
)
KEYS = st.sampled_from(
    [
        "metadata",
        "spec",
        "status",
        "name",
        "namespace",
        "ports",
        "port",
        "clusterIP",
        "clusterIPs",
        "addresses",
        "endpoints",
        "labels",
        "addressType",
        "conditions",
        "protocol",
        "nodePort",
        "loadBalancer",
        "ingress",
        "ip",
    ]
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
)


def service(**spec: Any) -> Service:
    return parse_service(raw(service_json(**spec)))


@given(JSON)
def test_any_json_is_a_value_or_an_object_error(value: Any) -> None:
    for parse in (parse_service, parse_slice, parse_node):
        with contextlib.suppress(ObjectError):
            parse(raw(value))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_object_error(value: bytes) -> None:
    for parse in (parse_service, parse_slice, parse_node):
        with pytest.raises(ObjectError):
            parse(value)


@pytest.mark.parametrize("name", EVIL)
def test_names_that_could_break_out_of_a_rule_are_refused(name: str) -> None:
    for value in (
        service_json(name),
        service_json(namespace=name),
        slice_json(name or " "),
    ):
        with pytest.raises(ObjectError):
            (parse_slice if "addressType" in value else parse_service)(raw(value))


@pytest.mark.parametrize("name", [name for name in EVIL if name])
def test_port_names_are_refused_likewise(name: str) -> None:
    with pytest.raises(ObjectError):
        service(ports=[{"port": 80, "name": name}])


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1 -j ACCEPT",
        "fe80::1%eth0;x",
        "10.0.0.01",
        "host",
        "10.0.0.256",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "169.254.1.1",
        "::1",
    ],
)
def test_addresses_that_are_none_or_forbidden_are_left_out_and_told(address: str) -> None:
    found = parse_slice(raw(slice_json("web", address, "10.42.0.5")))

    assert found is not None
    assert [endpoint.address for endpoint in found.endpoints] == ["10.42.0.5"]
    assert len(found.doubts) == 1


def test_an_endpoint_of_the_other_family_is_left_out() -> None:
    found = parse_slice(raw(slice_json("web", "fd00::5")))

    assert found is not None and found.endpoints == ()


@pytest.mark.parametrize("port", [0, -1, 65536, True, None, "80"])
def test_a_port_out_of_range_refuses_the_service(port: Any) -> None:
    with pytest.raises(ObjectError):
        service(ports=[{"port": port}])


def test_a_headless_or_external_name_service_has_no_address() -> None:
    assert service(clusterIP="None", clusterIPs=["None"]).cluster_ips == ()
    assert service(type="ExternalName").cluster_ips == ()
    assert service(clusterIP="", clusterIPs=[]).cluster_ips == ()


def test_one_bad_external_address_leaves_the_rest() -> None:
    found = service(externalIPs=["1.2.3.4", "x y"])

    assert found.external_ips == ("1.2.3.4",)
    assert "externalIPs 'x y'" in found.doubts[0]


def test_unusable_source_ranges_let_nobody_in() -> None:
    assert service(loadBalancerSourceRanges=[" 10.0.0.0/8", "x"]).source_ranges == ("10.0.0.0/8",)
    assert service(loadBalancerSourceRanges=["x"]).source_ranges == ("0.0.0.0/32", "::/128")
    assert service(loadBalancerSourceRanges=[" "]).source_ranges == ()


@pytest.mark.parametrize(("mode", "expected"), [(None, ("1.2.3.4",)), ("VIP", ("1.2.3.4",)), ("Proxy", ())])
def test_only_load_balancer_addresses_of_mode_vip_are_served(
    mode: str | None, expected: tuple[str, ...]
) -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": mode}, {"hostname": "x"}]}}

    assert expected == service(type="LoadBalancer", status=status).virtual_ips
    assert service(type="ClusterIP", status=status).virtual_ips == ()


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}}}, 10),
    ],
)
def test_affinity_has_kubernetes_default_timeout(spec: dict[str, Any], seconds: int) -> None:
    assert seconds == service(**spec).affinity_seconds


def test_a_health_check_port_counts_only_with_policy_local() -> None:
    assert service(healthCheckNodePort=30000).health_check_node_port == 0
    assert service(healthCheckNodePort=30000, externalTrafficPolicy="Local").health_check_node_port == 30000


def test_conditions_not_given_mean_ready_and_serving() -> None:
    value = slice_json("web", "10.42.0.5", "10.42.0.6")
    value["endpoints"][1]["conditions"] = {"ready": False}
    found = parse_slice(raw(value))

    assert found is not None
    assert [(e.ready, e.serving, e.terminating) for e in found.endpoints] == [
        (True, True, False),
        (False, False, False),
    ]


def test_a_slice_without_service_or_with_names_for_addresses_is_none_of_ours() -> None:
    value = slice_json("web", "10.42.0.5")
    assert parse_slice(raw({**value, "addressType": "FQDN"})) is None
    value["metadata"]["labels"] = {}
    assert parse_slice(raw(value)) is None


def test_a_node_about_to_be_deleted_is_not_eligible() -> None:
    taint = {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}}
    assert not parse_node(raw(taint)).eligible
    assert not parse_node(
        raw({"metadata": {"name": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    ).eligible
    node = parse_node(
        raw(
            {
                "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "a"}},
                "status": {
                    "addresses": [
                        {"type": "InternalIP", "address": "10.0.0.1"},
                        {"type": "Hostname", "address": "n"},
                    ]
                },
                "spec": {"podCIDR": "10.42.0.0/24"},
            }
        )
    )
    assert (
        node.addresses,
        node.pod_cidrs,
        node.zone,
        node.eligible,
    ) == (("10.0.0.1",), ("10.42.0.0/24",), "a", True)


def test_messages_are_short_and_escaped() -> None:
    with pytest.raises(ObjectError) as caught:
        parse_service(json.dumps(service_json("x\n" * 500)).encode())

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
