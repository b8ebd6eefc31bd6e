"""Only what is in the vocabulary can be declared, and what is not declared is not claimed."""

from __future__ import annotations

import pytest

from conformance.features import ABOUT, Declaration, DeclarationError, Feature


def test_every_feature_has_a_sentence_and_a_release() -> None:
    assert set(ABOUT) == set(Feature)
    for about in ABOUT.values():
        assert about.sentence.endswith(".")
        assert about.since.startswith("1.")
        assert len(about.values) != 1


def test_a_declaration_is_read_and_given_back() -> None:
    told = {"sctp": True, "dual-stack": False, "iptables-chains": "1.18", "no-endpoints": "reject"}
    declared = Declaration.from_mapping(told)
    assert declared.to_json() == told
    assert declared.supports(Feature.SCTP)
    assert not declared.supports(Feature.DUAL_STACK)
    assert not declared.supports(Feature.MAGLEV)
    assert declared.conduct(Feature.IPTABLES_CHAINS) == "1.18"
    assert declared.conduct(Feature.NODE_PORT_ADDRESSES) == ""
    assert declared.lacking(frozenset({Feature.SCTP, Feature.MAGLEV, Feature.DUAL_STACK})) == [
        Feature.DUAL_STACK,
        Feature.MAGLEV,
    ]


def test_the_conduct_none_is_not_supported() -> None:
    declared = Declaration.from_mapping({"iptables-chains": "none", "localhost-node-port": "ipv4"})
    assert not declared.supports(Feature.IPTABLES_CHAINS)
    assert declared.supports(Feature.LOCALHOST_NODE_PORT)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"sctpp": True}, "did you mean sctp"),
        ({"zzz": True}, "known are client-address"),
        ({"sctp": "yes"}, "sctp is true or false, not 'yes'"),
        ({"sctp": 1}, "true or false, not 1"),
        ({"iptables-chains": "1.19"}, '"current" or "1.18" or "none", not \'1.19\''),
        ({"iptables-chains": True}, "not True"),
        ({"iptables-chains": ["current"]}, "not \\['current'\\]"),
    ],
)
def test_a_wrong_declaration_is_refused_in_one_sentence(told: dict[str, object], said: str) -> None:
    with pytest.raises(DeclarationError, match=said) as caught:
        Declaration.from_mapping(told, where="my-proxy.toml")
    assert str(caught.value).startswith("my-proxy.toml: ")
