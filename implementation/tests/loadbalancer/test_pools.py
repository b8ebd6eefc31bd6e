"""Configuration: what is read, what is refused and in which words."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation.loadbalancer.pools import admits, configuration, confuses, owns
from implementation.objects.balanced import parse_balanced, parse_balanced_node, parse_labels
from implementation.objects.fields import ObjectError
from implementation.objects.poolmap import parse_config_map, parse_legacy
from implementation.objects.pools import address_range, parse_l2_advertisement, parse_pool
from implementation.objects.selector import RawExpression, RawSelector, selector

SEED = """
address-pools:
- name: default
  protocol: layer2
  addresses:
  - 192.168.2.200-192.168.2.225
"""


def pool(name: Any = "p", addresses: Any = ("10.0.0.0/30",), labels: Any = None, **spec: Any) -> Any:
    return parse_pool(
        json.dumps(
            {
                "metadata": {"name": name, "labels": labels or {}},
                "spec": {"addresses": list(addresses), **spec},
            }
        ).encode()
    )


def advert(name: Any = "a", **spec: Any) -> Any:
    return parse_l2_advertisement(json.dumps({"metadata": {"name": name}, "spec": spec}).encode())


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("192.168.2.200-192.168.2.225", "192.168.2.200", "192.168.2.225"),
        ("10.0.0.0/30", "10.0.0.0", "10.0.0.3"),
        ("10.0.0.7/30", "10.0.0.4", "10.0.0.7"),
        ("10.0.0.1 - 10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("fd00::1-fd00::ffff", "fd00::1", "fd00::ffff"),
        ("fd00::/127", "fd00::", "fd00::1"),
    ],
)
def test_a_range_is_read_as_first_and_last_address(text: Any, first: Any, last: Any) -> None:
    span = address_range(text, "f")
    assert (span.text(span.first), span.text(span.last)) == (first, last)
    assert first in span
    assert last in span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1",
        "10.0.0.2-10.0.0.1",
        "10.0.0.1-fd00::1",
        "10.0.0.0/33",
        "a-b",
        "10.0.0.1-10.0.0.2-10.0.0.3",
        "fe80::1%eth0-fe80::2%eth0",
        None,
        7,
        ["10.0.0.0/8"],
        "10.0.0.1-",
        "-10.0.0.1",
    ],
)
def test_what_is_no_range_is_refused_with_field_and_value(text: Any) -> None:
    with pytest.raises(ObjectError, match=r"spec\.addresses\[0\]"):
        address_range(text, "spec.addresses[0]")


def test_the_post_s_config_map_gives_one_pool_announced_by_layer_2() -> None:
    found = configuration((), (), parse_config_map(json.dumps({"data": {"config": SEED}}).encode()))
    owner = found.pool_of("192.168.2.200")
    assert owner is not None
    assert owner.name == "default"
    assert [a.pools for a in found.advertisements(owner, {})] == [("default",)]
    assert found.pool_of("192.168.2.226") is None


def test_a_pool_for_bgp_in_the_config_map_is_not_announced_by_layer_2() -> None:
    found = parse_legacy(SEED.replace("layer2", "bgp"))
    assert len(found.pools) == 1
    assert found.l2 == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("layer2", "l2"), "protocol 'l2' is not one of layer2, bgp"),
        (("address-pools", "address-pool"), "unknown key 'address-pool'; allowed are peers, address-pools"),
        (("- name: default", "- nam: default"), "unknown key 'nam'"),
        (("- name: default", "- name: 5"), "name 5 is not a text"),
        (("192.168.2.225", "192.168.2.22"), "starts after its end"),
        (("  addresses:\n  - 192.168.2.200-192.168.2.225", "  addresses: []"), "addresses is empty"),
        (
            ("  protocol: layer2", "  protocol: layer2\n  auto-assign: 1"),
            "auto-assign 1 is not true or false",
        ),
        (
            ("address-pools:", "address-pools: 5\npeers:"),
            "address-pools is of type int, but must be a list",
        ),
        (("address-pools:", "address-pools: ["), "is not YAML"),
        (("address-pools:", "- a\n- b\n#"), "is not YAML|must be a mapping"),
    ],
)
def test_a_wrong_config_map_is_refused_in_one_sentence(change: Any, words: Any) -> None:
    with pytest.raises(ObjectError, match=words) as caught:
        parse_legacy(SEED.replace(*change))
    assert "\n" not in str(caught.value)


def test_a_config_map_without_the_key_says_where_the_yaml_belongs() -> None:
    with pytest.raises(ObjectError, match='no key "config" under data'):
        parse_config_map(b'{"data": {"conf": ""}}')


def test_an_empty_configuration_has_no_pools() -> None:
    assert parse_legacy("").pools == ()


def test_old_names_are_made_fit_for_objects() -> None:
    assert parse_legacy(SEED.replace("name: default", "name: My_Pool")).pools[0].name == "my-pool"


@pytest.mark.parametrize(
    ("pools", "words"),
    [
        ((pool("a"), pool("a", ("10.1.0.0/30",))), "two pools are called a"),
        (
            (pool("a"), pool("b", ("10.0.0.3-10.0.0.9",))),
            "pools a and b: 10.0.0.0-10.0.0.3 and 10.0.0.3-10.0.0.9 overlap",
        ),
        ((pool("a", ("10.0.0.0/24", "10.0.0.7-10.0.0.8")),), "pool a: .* overlap"),
    ],
)
def test_pools_that_contradict_each_other_are_refused(pools: Any, words: Any) -> None:
    with pytest.raises(ObjectError, match=words):
        configuration(pools, ())


def test_objects_and_config_map_stand_together_unless_they_overlap() -> None:
    legacy = parse_legacy(SEED)
    assert set(configuration([pool("a")], (), legacy).pools) == {"a", "default"}
    with pytest.raises(ObjectError, match="overlap"):
        configuration([pool("a", ("192.168.2.0/24",))], (), legacy)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"addresses": []}, "spec.addresses is empty"),
        ({"addresses": ["x"]}, r"IPAddressPool p: spec.addresses\[0\]"),
        ({"serviceAllocation": {"namespaces": ["a", "a"]}}, "names a namespace twice"),
        (
            {
                "serviceAllocation": {
                    "serviceSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]
                }
            },
            "operator 'Is' is not one of In, NotIn, Exists, DoesNotExist",
        ),
        ({"autoAssign": "yes"}, "this is not an IPAddressPool"),
    ],
)
def test_a_wrong_pool_object_is_refused(spec: Any, words: Any) -> None:
    with pytest.raises(ObjectError, match=words):
        pool(**spec)


def test_an_advertisement_without_pools_and_selectors_holds_for_every_pool() -> None:
    found = configuration(
        [pool("a"), pool("b", ("10.1.0.0/30",), labels={"tier": "x"})],
        [
            advert("all"),
            advert("named", ipAddressPools=["a"]),
            advert("picked", ipAddressPoolSelectors=[{"matchLabels": {"tier": "x"}}]),
            advert("for-some", serviceSelectors=[{"matchLabels": {"app": "web"}}]),
        ],
    )
    names = lambda name, labels: [x.name for x in found.advertisements(found.pools[name], labels)]  # noqa: E731
    assert names("a", {}) == ["all", "named"]
    assert names("b", {"app": "web"}) == ["all", "for-some", "picked"]


def test_addresses_that_confuse_old_firmware_are_avoided_only_when_asked() -> None:
    assert owns(pool(addresses=["10.0.0.0/24"]), "10.0.0.0")
    assert not owns(pool(addresses=["10.0.0.0/24"], avoidBuggyIPs=True), "10.0.0.255")
    assert [confuses(a) for a in ("10.0.0.0", "10.0.0.1", "10.0.0.255", "fd00::ff")] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("allocation", "admitted"),
    [
        (None, True),
        ({}, True),
        ({"namespaces": ["default"]}, True),
        ({"namespaces": ["other"]}, False),
        ({"namespaceSelectors": [{"matchLabels": {"team": "a"}}]}, True),
        ({"namespaceSelectors": [{"matchLabels": {"team": "b"}}]}, False),
        ({"serviceSelectors": [{"matchLabels": {"app": "web"}}]}, True),
        ({"namespaces": ["default"], "serviceSelectors": [{"matchLabels": {"app": "db"}}]}, False),
        ({"namespaces": ["other"], "serviceSelectors": [{"matchLabels": {"app": "web"}}]}, False),
    ],
)
def test_a_pool_kept_for_some_admits_only_those(allocation: Any, admitted: Any) -> None:
    spec = {} if allocation is None else {"serviceAllocation": allocation}
    assert admits(pool(**spec), "default", {"team": "a"}, {"app": "web"}) is admitted


@pytest.mark.parametrize(
    ("expression", "labels", "picked"),
    [
        (("a", "In", ["1", "2"]), {"a": "2"}, True),
        (("a", "In", ["1"]), {}, False),
        (("a", "NotIn", ["1"]), {}, True),
        (("a", "NotIn", ["1"]), {"a": "1"}, False),
        (("a", "Exists", None), {"a": ""}, True),
        (("a", "DoesNotExist", None), {"a": ""}, False),
    ],
)
def test_label_expressions_pick_as_kubernetes_says(expression: Any, labels: Any, picked: Any) -> None:
    key, operator, values = expression
    assert (
        selector(RawSelector(match_expressions=[RawExpression(key, operator, values)]), "s").accepts(labels)
        is picked
    )


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "name",
                    "spec",
                    "addresses",
                    "labels",
                    "data",
                    "config",
                    "status",
                    "serviceAllocation",
                    "nodeSelectors",
                    "matchExpressions",
                    "ports",
                    "clusterIPs",
                ]
            )
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "parse",
    [
        parse_pool,
        parse_l2_advertisement,
        parse_config_map,
        parse_balanced,
        parse_balanced_node,
        parse_labels,
    ],
)
@given(raw=st.binary(max_size=80) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_an_object_or_an_object_error(parse: Any, raw: Any) -> None:
    with contextlib.suppress(ObjectError):
        parse(raw)


@given(
    text=st.text(max_size=120)
    | _json.map(json.dumps)
    | st.lists(
        st.sampled_from(
            [
                "address-pools:",
                "\n",
                "- ",
                "  ",
                "name: ",
                "a",
                "!!python/object:os.system ",
                "&a ",
                "*a",
                "[",
                "{",
                "2020-99-99",
                "!!timestamp ",
                "!!int ",
                ": ",
                "? ",
                "<<: ",
                "|",
                "protocol: layer2",
                "addresses: ",
                "10.0.0.0/30",
                "\t",
                "0x",
                "=",
            ]
        ),
        max_size=30,
    ).map("".join)
)
def test_any_text_gives_a_configuration_or_an_object_error(text: Any) -> None:
    try:
        parse_legacy(text)
    except ObjectError as error:
        assert str(error)
