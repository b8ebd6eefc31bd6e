"""Bodies in protobuf and YAML: what Go's clients and people send instead of JSON."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.apiserver import protobuf
from clusters.apiserver.bodies import parse_body, parse_yaml
from clusters.apiserver.status import Refused
from clusters.tests.test_apiserver_fixture import Server, maps

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]


def number(field: int, value: int) -> bytes:
    """A field with a whole number, negative ones in ten bytes as Go writes them."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray([field << 3])
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def held(field: int, *parts: bytes | str) -> bytes:
    """A field with bytes: a text, or a message of parts. Sizes below 128 only."""
    data = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    tag = field << 3 | 2
    head = bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7])
    size = len(data)
    return head + (bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])) + data


def envelope(version: str, kind: str, *parts: bytes) -> bytes:
    return b"k8s\0" + held(1, held(1, version), held(2, kind)) + held(2, *parts) + held(3) + held(4)


METADATA = held(1, held(1, "one"), held(3), held(8), held(11, held(1, "app"), held(2, "x")))


def test_a_deployment_is_read_and_what_go_leaves_empty_is_left_out() -> None:
    container = held(2, held(1, "c"), held(2, "nextcloud"), held(6, held(1), number(2, 0), number(3, 80)))
    template = held(3, held(1, held(11, held(1, "app"), held(2, "x"))), held(2, container))
    selector = held(2, held(1, held(1, "app"), held(2, "x")))
    rolling = held(
        2, held(1, number(1, 1), number(2, 0), held(3, "25%")), held(2, number(1, 0), number(2, 3))
    )
    spec = held(2, number(1, 0), selector, template, held(4, rolling), number(5, 0))
    found = protobuf.decode(envelope("apps/v1", "Deployment", METADATA, spec, held(3)))
    assert found == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one", "labels": {"app": "x"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "x"}},
            "template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {
                    "containers": [{"name": "c", "image": "nextcloud", "ports": [{"containerPort": 80}]}]
                },
            },
            "strategy": {"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 3}},
        },
    }


def test_bytes_quantities_times_and_inlined_fields() -> None:
    secret = protobuf.decode(envelope("v1", "Secret", METADATA, held(2, held(1, "k"), held(2, b"\xff\0"))))
    assert secret["data"] == {"k": base64.b64encode(b"\xff\0").decode()}
    lease = held(2, number(5, -3), held(3, number(1, 1_700_000_000), number(2, 5000)))
    found = protobuf.decode(envelope("coordination.k8s.io/v1", "Lease", METADATA, lease))
    assert found["spec"] == {"acquireTime": "2023-11-14T22:13:20.000005Z", "leaseTransitions": -3}
    volume = held(1, held(1, "v"), held(2, held(2, held(1))))  # VolumeSource.emptyDir, with nothing in it
    pod = protobuf.decode(envelope("v1", "Pod", METADATA, held(2, volume)))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_a_secret_in_protobuf_is_stored(server: Server, namespace: str) -> None:
    body = envelope("v1", "Secret", METADATA, held(2, held(1, "k"), held(2, "v")))
    path = f"/api/v1/namespaces/{namespace}/secrets"
    made = server.ok("POST", path, body, protobuf.MEDIA_TYPE)
    assert (made["data"], made["type"]) == ({"k": "dg=="}, "Opaque")
    assert server.refused("POST", path, b"k8s", protobuf.MEDIA_TYPE)[:2] == (400, "BadRequest")
    other = envelope("example.io/v1", "Thing", METADATA)
    code, reason, message = server.refused("POST", path, other, protobuf.MEDIA_TYPE)
    if server.ours:
        assert (code, reason) == (415, "UnsupportedMediaType") and "application/json" in message


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_refusal(data: bytes) -> None:
    for kind in ("Pod", "CustomResourceDefinition"):
        version = "v1" if kind == "Pod" else "apiextensions.k8s.io/v1"
        try:
            protobuf.decode(b"k8s\0" + held(1, held(1, version), held(2, kind)) + b"\x12\xc8\x01" + data)
            protobuf.decode(data)
        except Refused as refused:
            assert refused.code in {400, 415}


def test_yaml_is_read_with_the_values_of_json(server: Server, namespace: str) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata:\n  a: |\n    b\n"
    assert server.ok("POST", maps(namespace), body, "application/yaml")["data"] == {"a": "b\n"}
    assert parse_yaml(b"a: 2020-01-01T00:00:00Z\nb: [1, true, null]") == {
        "a": "2020-01-01T00:00:00Z",
        "b": [1, True, None],
    }
    assert parse_yaml(b"{a: b}") == parse_yaml(b'{"a": "b"}') == {"a": "b"}
    for wrong in (b"a: &x [1]\nb: *x", b"a: [", b"a: b\n---\nc: d", b"\xff\xfe\xfd"):
        with pytest.raises(Refused) as refused:
            parse_yaml(wrong)
        assert refused.value.code == 400


@given(st.binary(max_size=100))
def test_any_yaml_is_a_value_or_a_refusal(data: bytes) -> None:
    try:
        parse_body("application/yaml", data)
    except Refused as refused:
        assert refused.code == 400
