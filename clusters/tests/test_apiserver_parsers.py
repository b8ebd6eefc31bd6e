"""Patches, selectors, paths and names by themselves: right for the examples, total for everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.apiserver import names
from clusters.apiserver.builtin import RESOURCES, find
from clusters.apiserver.patch import json_patch, merge, strategic
from clusters.apiserver.resources import Catalogue, Resource
from clusters.apiserver.routes import parse
from clusters.apiserver.selectors import parse_labels, selector
from clusters.apiserver.status import Refused

PODS, MAPS, SERVICES = (find("", "v1", plural) for plural in ("pods", "configmaps", "services"))
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text("abxyz", max_size=3)
KEYS = st.sampled_from(["a", "b", "name", "spec", "metadata", "containers", "ports", "port", "$patch", "env"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)

KINDS = Catalogue(RESOURCES)


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_merge_patch_applied_twice_is_applied_once(target: Any, patch: Any) -> None:
    before = json.dumps(target)
    once = merge(target, patch)
    assert merge(once, patch) == once
    assert json.dumps(target) == before


@given(OBJECTS)
def test_merge_patch_onto_nothing_is_the_patch_without_nulls(patch: Any) -> None:
    assert merge({}, patch) == without_nulls(patch)


def test_rfc_7386_examples() -> None:
    for target, patch, result in (
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [1]}, [1], [1]),
        ({"a": "foo"}, None, None),
        ({}, {"a": {"b": None}}, {"a": {}}),
    ):
        assert merge(target, patch) == result


@given(OBJECTS, JSON)
def test_strategic_patch_gives_a_value_or_a_refusal(target: Any, patch: Any) -> None:
    for kind in ("Pod", "Service", "Unknown"):
        try:
            strategic(kind, target, patch)
        except Refused as refused:
            assert refused.code == 400


def test_strategic_patch_keeps_what_it_does_not_name() -> None:
    pod = {
        "spec": {
            "containers": [
                {"name": "a", "image": "1", "ports": [{"containerPort": 80}]},
                {"name": "b", "image": "1"},
            ],
            "hostNetwork": True,
        }
    }
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
            "containers": [{"name": "a", "ports": [{"containerPort": 443, "name": "tls"}]}],
        }
    }
    spec = strategic("core.v1.Pod", pod, patch)["spec"]
    assert [container["name"] for container in spec["containers"]] == ["b", "a"]
    assert spec["containers"][1]["ports"] == [{"containerPort": 80}, {"containerPort": 443, "name": "tls"}]
    assert spec["hostNetwork"] is True and pod["spec"]["containers"][0]["name"] == "a"


def test_strategic_directives() -> None:
    obj = {"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}, "spec": {"a": 1, "b": 2}}
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"$patch": "replace", "z": "3"}},
        "spec": {"$retainKeys": ["b"], "b": 3},
    }
    assert strategic("core.v1.ConfigMap", obj, patch) == {
        "metadata": {"finalizers": ["b"], "labels": {"z": "3"}},
        "spec": {"b": 3},
    }
    with pytest.raises(Refused, match="does not contain declared merge key: name"):
        strategic("core.v1.Pod", {}, {"spec": {"containers": [{"image": "x"}]}})


@given(
    OBJECTS,
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "odd", [], {}]),
                "path": st.sampled_from(["", "/", "/a", "/a/0", "/a/-", "/spec/a", "/b/~1", "a"]) | JSON,
            },
            optional={"value": JSON, "from": st.sampled_from(["/a", "/b", "", "x"]) | JSON},
        ),
        max_size=4,
    )
    | JSON,
)
def test_json_patch_gives_a_value_or_a_refusal_and_leaves_its_input(target: Any, operations: Any) -> None:
    before = json.dumps(target)
    try:
        json_patch(target, operations)
    except Refused as refused:
        assert refused.code in {400, 422}
    assert json.dumps(target) == before


def test_rfc_6902_examples() -> None:
    assert json_patch({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}]) == {
        "foo": ["bar", "qux", "baz"]
    }
    assert json_patch({"a/b": {"c~d": 1}}, [{"op": "replace", "path": "/a~1b/c~0d", "value": 2}]) == {
        "a/b": {"c~d": 2}
    }
    assert json_patch({"foo": ["a", "b", "c"]}, [{"op": "move", "from": "/foo/0", "path": "/foo/2"}]) == {
        "foo": ["b", "c", "a"]
    }


@given(st.text(max_size=40) | st.text("ab=!(),<> innot./-", max_size=25))
@settings(max_examples=300)
def test_any_selector_text_gives_a_test_or_a_refusal(text: str) -> None:
    for labels, fields in ((text, ""), ("", text)):
        try:
            test = selector(PODS, labels, fields)
        except Refused as refused:
            assert refused.code == 400
        else:
            assert test is None or test({"metadata": {"labels": {"a": "b"}}}) in {True, False}


LABELS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "1", "2"]), max_size=3)


@given(LABELS, st.sampled_from(["a", "b"]), st.sets(st.sampled_from(["1", "2"]), min_size=1))
def test_a_selector_and_its_opposite_divide_the_objects(
    labels: dict[str, str], key: str, values: set[str]
) -> None:
    inside, outside = (
        parse_labels(f"{key} {operator} ({','.join(sorted(values))})")[0].matches(labels)
        for operator in ("in", "notin")
    )
    assert inside is not outside
    assert parse_labels(key)[0].matches(labels) is not parse_labels(f"!{key}")[0].matches(labels)


@given(
    st.text("/ab.%", max_size=30) | st.text(max_size=30),
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "ODD"]),
)
def test_any_path_is_a_target_or_none(path: str, method: str) -> None:
    target = parse(KINDS, method, "/api/v1/" + path)
    assert target is None or isinstance(target.resource, Resource)


def test_paths_name_what_they_should() -> None:
    assert parse(KINDS, "GET", "/api/v1/namespaces/a/pods/p/status").subresource == "status"
    assert parse(KINDS, "DELETE", "/api/v1/namespaces/a/pods/p/status").verb == ""
    assert parse(KINDS, "PUT", "/api/v1/namespaces/a/status").name == "a"
    assert parse(KINDS, "GET", "/api/v1/pods").verb == "list"
    assert parse(KINDS, "POST", "/api/v1/pods").verb == ""
    assert parse(KINDS, "GET", "/api/v1/namespaces/a/nodes") is None
    assert parse(KINDS, "GET", "/api/v1/pods/p") is None


@given(st.text(max_size=20))
def test_name_rules_judge_any_text(text: str) -> None:
    for rule in (
        names.dns_label,
        names.dns_subdomain,
        names.qualified_name,
        names.label_value,
        names.config_key,
        names.port_name,
        names.ip_address,
        names.cidr,
        names.path_segment,
    ):
        assert all(isinstance(message, str) and message for message in rule(text))
