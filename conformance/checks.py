"""What judges of attempts are given and give: attempts, parameters, checks and verdicts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from conformance.evidence import Outcome
from conformance.expectations import Expectation, ExpectationError, from_json


class Verdict(StrEnum):
    """What can be said of a requirement, worst first: of several, the first one in this order wins.

    A violation once proven stays proven, whatever the suite got wrong afterwards; so fail stands before
    suite-error, and pass, which needs everything to be well, stands last.
    """

    FAIL = "fail"
    SUITE_ERROR = "suite-error"
    UNKNOWN = "unknown"
    NOT_RUN = "not-run"
    UNSUPPORTED = "unsupported"
    PASS = "pass"


class ParameterError(Exception):
    """An expect record has parameters that its kind does not take: the suite's own mistake."""


@dataclass(frozen=True)
class Attempt:
    """One attempt of a series, with from where to where it went."""

    outcome: Outcome
    origin: str = ""
    target: str = ""
    protocol: str = ""

    def order(self) -> tuple[Any, ...]:
        """Sorts attempts by time; those of one instant by what they are, so no order of records matters."""
        return (self.outcome.at, str(self.outcome.to_row()), self.origin, self.target, self.protocol)


@dataclass(frozen=True)
class Check:
    """What one expectation came to."""

    verdict: Verdict
    expected: str
    actual: str
    decided: Attempt | None = None  # the attempt that decided, where one did
    numbers: Mapping[str, Any] = field(default_factory=dict)


Judge = Callable[[Sequence[Attempt], Mapping[str, Any]], Check]


def expectation_of(params: Mapping[str, Any], default: Expectation | None = None) -> Expectation:
    """What ``acceptable`` describes; raises ParameterError."""
    if default is not None and "acceptable" not in params:
        return default
    try:
        return from_json(given(params, "acceptable"))
    except ExpectationError as error:
        raise ParameterError(str(error)) from error


def given(params: Mapping[str, Any], name: str) -> Any:
    """The parameter ``name``, which must be there; raises ParameterError."""
    if name not in params:
        raise ParameterError(f"the parameter {name} is missing")
    return params[name]


def number_of(params: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """The number ``name``, 0 or more; raises ParameterError."""
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ParameterError(f"{name} is a number of 0 or more, not {value!r}")
    return float(value)


def chance_of(params: Mapping[str, Any], name: str, default: float) -> float:
    """The number ``name``, between 0 and 1; raises ParameterError."""
    value = number_of(params, name, default)
    if not 0 < value < 1:
        raise ParameterError(f"{name} lies between 0 and 1, {value:g} does not")
    return value


def names_of(params: Mapping[str, Any], name: str) -> list[str]:
    """The list ``name`` of nonces, each once; raises ParameterError."""
    value = given(params, name)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ParameterError(f"{name} is a list of nonces, not {repr(value)[:80]}")
    return list(dict.fromkeys(value))


def many(count: int, word: str) -> str:
    """``count`` and ``word``, in the plural unless it is one."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
