"""Sets of acceptable outcomes accept what they say, object in words, and survive the evidence file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.evidence import KINDS, Outcome
from conformance.expectations import (
    Answered,
    Closed,
    Dropped,
    Ended,
    Expectation,
    ExpectationError,
    Refused,
    Reset,
    Unreachable,
    from_json,
    one_of,
    strangers,
)


def answer(by: str = "a", peer: str = "10.42.0.7:4321") -> Outcome:
    return Outcome("answered", by, peer)


@pytest.mark.parametrize(
    ("expectation", "kind"),
    [
        (Refused(), "refused"),
        (Reset(), "reset"),
        (Unreachable(), "unreachable"),
        (Dropped(), "timeout"),
        (Closed(), "closed"),
        (Answered(), "answered"),
    ],
)
def test_each_set_accepts_its_own_kind_only(expectation: Expectation, kind: str) -> None:
    assert [other for other in KINDS if expectation.accepts(Outcome(other))] == [kind]


def test_an_answer_must_come_from_one_of_the_nonces() -> None:
    expected = Answered(frozenset({"a", "b"}))
    assert expected.accepts(answer("b"))
    assert expected.objection(answer("x")) == "answered by a stranger: x"
    assert expected.objection(answer("")) == "answered by a stranger: somebody who gave no name"
    assert expected.objection(Outcome("timeout", ms=2000)) == "no answer (timed out) after 2000.0 ms"


@pytest.mark.parametrize(
    ("peer", "fits"),
    [
        ("10.42.0.7:4321", True),
        ("10.42.0.8:4321", False),
        ("192.168.2.115:1", True),
        ("[::ffff:10.42.0.7]:80", True),
        ("::ffff:10.42.0.7:80", True),
        ("[fd00::7]:80", True),
        ("[fd01::7]:80", False),
        ("", False),
        ("nonsense", False),
        ("[fe80::1%eth0]:80", False),
    ],
)
def test_the_client_must_be_seen_from_one_of_the_addresses(peer: str, fits: bool) -> None:
    expected = Answered(source=frozenset({"10.42.0.7", "192.168.2.0/24", "fd00::/64"}))
    assert expected.accepts(answer(peer=peer)) is fits


def test_a_wrong_source_is_said_without_its_port() -> None:
    expected = Answered(source=frozenset({"10.42.0.7"}))
    assert expected.objection(answer(peer="10.42.0.1:55")) == "the backend saw the client as 10.42.0.1"
    assert expected.objection(answer(peer="")) == "the backend saw the client as nothing it told"


def test_one_of_accepts_any_and_objects_with_the_first() -> None:
    expected = one_of(Refused(), Unreachable())
    assert expected.accepts(Outcome("refused"))
    assert expected.accepts(Outcome("unreachable"))
    assert expected.objection(answer()).startswith("answered by a")
    assert expected.sentence() == "refused, or unreachable"
    assert one_of(Refused()) == Refused()
    with pytest.raises(ExpectationError, match="at least one"):
        one_of()


def test_sentences_say_the_set() -> None:
    assert Answered(frozenset({"b", "a"}), frozenset({"10.0.0.1"})).sentence() == (
        "answered by one of a, b, who sees the client as 10.0.0.1"
    )
    assert Dropped().sentence() == "dropped (no answer)"
    assert Ended(frozenset({"reset", "refused"})).sentence() == "refused or reset"


names = st.frozensets(st.text("abc", min_size=1), min_size=1, max_size=3)
sources = st.frozensets(st.sampled_from(["10.0.0.1", "10.42.0.0/16", "fd00::/8"]), min_size=1)
leaves = st.builds(Answered, st.none() | names, st.none() | sources) | st.sampled_from(
    [Refused(), Reset(), Unreachable(), Dropped(), Closed()]
)
expectations = st.recursive(
    leaves, lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda x: one_of(*x))
)
outcomes = st.builds(
    Outcome,
    st.sampled_from(KINDS),
    st.text("abcx", max_size=2),
    st.sampled_from(["", "10.0.0.1:1", "10.42.9.9:2", "[fd00::1]:3", "[::1]:4"]),
)


@given(expectations, outcomes)
def test_a_set_survives_json_and_objects_exactly_when_it_does_not_accept(
    expectation: Expectation,
    outcome: Outcome,
) -> None:
    again = from_json(json.loads(json.dumps(expectation.to_json())))
    assert again == expectation
    assert again.accepts(outcome) is (again.objection(outcome) == "")
    assert again.sentence()
    assert not (outcome.kind == "error" and again.accepts(outcome))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "an expectation is"),
        ({}, "an expectation is"),
        ({"answerd": {}}, "an expectation is"),
        ({"answered": {"bye": []}}, "an expectation is"),
        ({"answered": {"by": []}}, "by of an expectation is a list"),
        ({"answered": {"by": "a"}}, "is a list of texts"),
        ({"answered": {"source": ["10.0.0"]}}, "no address or network"),
        ({"ended": []}, "an expectation is"),
        ({"ended": ["answered"]}, "'answered' is none of them"),
        ({"ended": [[]]}, "is none of them"),
        ({"one_of": []}, "an expectation is"),
        ({"one_of": [1]}, "an expectation is"),
    ],
)
def test_what_is_no_expectation_is_refused(value: Any, said: str) -> None:
    with pytest.raises(ExpectationError, match=said):
        from_json(value)


def test_strangers_are_answers_from_nobody_known() -> None:
    seen = [answer("a"), answer("x"), Outcome("timeout"), answer("")]
    assert strangers(seen, ["a", "b"]) == [seen[1], seen[3]]
