"""Services given to this project's API server and to a real kube-apiserver: the answers are the same."""

from __future__ import annotations

import pytest

from clusters.tests.differential import Answer, Case, apart, compare
from clusters.tests.differential_run import KNOWN, carry_out

CASES = 200  # ci/differential.py does thousands


@pytest.mark.kernel
def test_both_servers_answer_alike() -> None:
    done, found = carry_out(CASES)
    assert done >= CASES
    assert not found, "\n".join(f"{count} x {line}\n    {case}" for line, (count, case) in found.items())


def test_a_difference_is_found_wherever_it_is() -> None:
    assert apart({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}], "c": 4}) == {
        "a[1].b": (2, 3), "c": ("(nothing)", 4)}
    assert apart([1], [1, 2]) == {"": ([1], [1, 2])}
    refused = Answer(422, {"message": "no", "details": {"causes": [{"field": "a", "message": "bad"}]}})
    other = Answer(422, {"message": "never", "details": {"causes": [{"field": "b", "message": "bad"}]}})
    assert compare("create", refused, other) == ["create: only here: a: bad", "create: only there: b: bad"]
    assert compare("create", refused, Answer(422, refused.body | {"message": "never"})) == [
        "create: message: 'no' here, 'never' there"]
    assert compare("create", refused, Answer(201, {})) == [
        "create: status 422 here, 201 there: no | accepted"]


def test_every_known_difference_has_its_reason() -> None:
    assert all(len(reason) > 20 for _pattern, reason in KNOWN)


def test_a_case_can_be_read_in_a_report() -> None:
    assert Case({"spec": {}}).told() == '{"create": {"spec": {}}, "then": []}'
