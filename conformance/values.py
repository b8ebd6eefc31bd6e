"""The kinds of expectation that judge a value: ``equals one_of includes matches``. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.checks import Check, ParameterError, Verdict, given


def equals(value: Any, params: Mapping[str, Any]) -> str:
    """Why ``value`` is not exactly ``expected``; empty when it is. 1 and true differ."""
    expected = given(params, "expected")
    return "" if _text(value) == _text(expected) else f"{_text(value)}"


def one_of(value: Any, params: Mapping[str, Any]) -> str:
    """Why ``value`` is none of the list ``expected``; empty when it is one."""
    expected = given(params, "expected")
    if not isinstance(expected, list) or not expected:
        raise ParameterError("one_of takes a list of values in expected")
    return "" if _text(value) in {_text(one) for one in expected} else _text(value)


def includes(value: Any, params: Mapping[str, Any]) -> str:
    """Why ``expected`` is not in ``value``: keys of an object (also inside), items of a list, part of a text.

    Empty when it is.
    """
    return "" if _part(given(params, "expected"), value) else _text(value)


def matches(value: Any, params: Mapping[str, Any]) -> str:
    """Why the regular expression ``pattern`` is not found in the text ``value`` (JSON when it is no text)."""
    pattern = given(params, "pattern")
    try:
        found = re.search(pattern, value if isinstance(value, str) else _text(value))
    except (re.error, TypeError) as error:
        raise ParameterError(f"pattern {pattern!r} is no regular expression: {error}") from error
    return "" if found else _text(value)


VALUES: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "equals": equals, "one_of": one_of, "includes": includes, "matches": matches,
}


def judge_value(kind: str, values: Sequence[Any], params: Mapping[str, Any]) -> Check:
    """Every one of ``values`` (one at least) is as ``kind`` says. Raises ParameterError."""
    wanted = params.get("pattern", params.get("expected"))
    words = {"equals": "exactly", "one_of": "one of", "includes": "something with", "matches": "matching"}
    expected = f"{words[kind]} {_text(wanted)}"
    for value in values:
        objection = VALUES[kind](value, params)
        if objection:
            return Check(Verdict.FAIL, expected, objection)
    return Check(Verdict.PASS, expected, _text(values[-1]))


def _part(expected: Any, value: Any) -> bool:
    if isinstance(expected, dict) and isinstance(value, dict):
        return all(key in value and _part(inside, value[key]) for key, inside in expected.items())
    if isinstance(value, list):
        wanted = expected if isinstance(expected, list) else [expected]
        return all(any(_part(one, item) for item in value) for one in wanted)
    if isinstance(expected, str) and isinstance(value, str):
        return expected in value
    return _text(expected) == _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
