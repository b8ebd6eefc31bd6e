"""Sets of acceptable outcomes, and the sentence that says them.

Where a specification leaves a choice the set holds every choice; what is judged never sees any of this.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from conformance.evidence import Outcome

_ENDS = ("refused", "reset", "timeout", "unreachable", "closed")


class ExpectationError(Exception):
    """An expectation in the evidence cannot be read; says what was expected."""


class Expectation(Protocol):
    """A set of acceptable outcomes."""

    def accepts(self, outcome: Outcome) -> bool:
        """True when ``outcome`` is one of the set."""
        ...

    def objection(self, outcome: Outcome) -> str:
        """Why ``outcome`` is not acceptable, in a few words; empty when it is."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The set as an ``expect`` record holds it."""
        ...

    def sentence(self) -> str:
        """The set in words, to stand after "expected: "."""
        ...


@dataclass(frozen=True)
class Answered:
    """Answered, by one of ``by`` where given, and seen from one of the addresses in ``source``; ``says`` is
    how the answer's details begin (over HTTP its status: ``503,``)."""

    by: frozenset[str] | None = None  # nonces; None: by anybody
    source: frozenset[str] | None = None  # addresses or CIDRs as which the backend may see the client
    says: str = ""

    def accepts(self, outcome: Outcome) -> bool:
        """True for an answer of the right backend that saw the client as it must."""
        return not self.objection(outcome)

    def objection(self, outcome: Outcome) -> str:
        """Why not: no answer, a stranger's answer, or a wrong source address."""
        if outcome.kind != "answered":
            return outcome.sentence()
        if self.by is not None and outcome.by not in self.by:
            who = outcome.by or "somebody who gave no name"
            return f"answered by a stranger: {who}"
        if self.source is not None and not _within(outcome.peer, self.source):
            return f"the backend saw the client as {_host(outcome.peer) or 'nothing it told'}"
        if not outcome.detail.startswith(self.says):
            return f"the answer was {outcome.detail or 'of no detail'}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """{"answered": {"by": […], "source": […]}} with what is given."""
        inside: dict[str, Any] = {}
        if self.by is not None:
            inside["by"] = sorted(self.by)
        if self.source is not None:
            inside["source"] = sorted(self.source)
        if self.says:
            inside["says"] = self.says
        return {"answered": inside}

    def sentence(self) -> str:
        """Who answers, and as whom the client is seen."""
        who = "" if self.by is None else f" by {_either(sorted(self.by))}"
        seen = "" if self.source is None else f", who sees the client as {_either(sorted(self.source))}"
        said = f" with {self.says.rstrip(',')}" if self.says else ""
        return f"answered{who}{seen}{said}"


@dataclass(frozen=True)
class Ended:
    """Ended without an answer in one of ``kinds``; made by Refused, Reset, Unreachable, Dropped, Closed."""

    kinds: frozenset[str]

    def accepts(self, outcome: Outcome) -> bool:
        """True when the attempt ended so."""
        return outcome.kind in self.kinds

    def objection(self, outcome: Outcome) -> str:
        """How it ended instead."""
        return "" if self.accepts(outcome) else outcome.sentence()

    def to_json(self) -> dict[str, Any]:
        """{"ended": [kinds]}."""
        return {"ended": sorted(self.kinds)}

    def sentence(self) -> str:
        """How it must end."""
        words = {"timeout": "dropped (no answer)", "closed": "closed without an answer"}
        return " or ".join(words.get(kind, kind) for kind in sorted(self.kinds))


@dataclass(frozen=True)
class OneOf:
    """Acceptable to at least one of ``sets``."""

    sets: tuple[Expectation, ...]

    def accepts(self, outcome: Outcome) -> bool:
        """True when one of the sets accepts it."""
        return any(one.accepts(outcome) for one in self.sets)

    def objection(self, outcome: Outcome) -> str:
        """The first set's objection, which is the most telling one."""
        return "" if self.accepts(outcome) else self.sets[0].objection(outcome)

    def to_json(self) -> dict[str, Any]:
        """{"one_of": [sets]}."""
        return {"one_of": [one.to_json() for one in self.sets]}

    def sentence(self) -> str:
        """The sets in words."""
        return ", or ".join(one.sentence() for one in self.sets)


def Refused() -> Ended:  # noqa: N802 - reads as the set it makes, beside Answered
    """Refused at once: a reset to the SYN, or ICMP port unreachable."""
    return Ended(frozenset({"refused"}))


def Reset() -> Ended:  # noqa: N802
    """Reset after it was open."""
    return Ended(frozenset({"reset"}))


def Unreachable() -> Ended:  # noqa: N802
    """ICMP host, network or administratively unreachable."""
    return Ended(frozenset({"unreachable"}))


def Dropped() -> Ended:  # noqa: N802
    """No answer of any kind until the prober's patience ended."""
    return Ended(frozenset({"timeout"}))


def Closed() -> Ended:  # noqa: N802
    """Opened, then closed without an answer."""
    return Ended(frozenset({"closed"}))


def Unanswered() -> Ended:  # noqa: N802
    """No answer from anybody, however it ended."""
    return Ended(frozenset(_ENDS))


def beside(conduct: str) -> Ended:
    """What becomes of a port that no Service has on a served address, by what is declared of it.

    ``conduct`` is that of ``other-port-on-vip``; where it is not ``reject`` or ``drop``, all that is asked is
    that nobody answers.
    """
    return {"reject": Refused(), "drop": Dropped()}.get(conduct, Unanswered())


def nobody(conduct: str) -> Ended:
    """What becomes of a connection to a Service without endpoints: refused, unless ``drop`` is declared."""
    return Dropped() if conduct == "drop" else Refused()


def local_empty(conduct: str) -> Ended:
    """What becomes of a connection to a node that has no endpoint for a policy Local, by what is declared.

    ``conduct`` is that of ``itp-local-empty`` or ``etp-local-empty``; without one nobody may answer.
    """
    return {"reject": Refused(), "drop": Dropped()}.get(conduct, Unanswered())


def one_of(*sets: Expectation) -> Expectation:
    """Acceptable to any of ``sets`` (at least one)."""
    if not sets:
        raise ExpectationError("one_of needs at least one set; name what is acceptable")
    return sets[0] if len(sets) == 1 else OneOf(tuple(sets))


def from_json(value: object) -> Expectation:
    """Inverse of ``to_json``; raises ExpectationError saying what was expected."""
    if isinstance(value, Mapping) and len(value) == 1:
        (word, inside), = value.items()
        if word == "answered" and isinstance(inside, Mapping) and set(inside) <= {"by", "source", "says"}:
            return Answered(_texts(inside, "by"), _texts(inside, "source"), str(inside.get("says", "")))
        if word == "ended" and isinstance(inside, list) and inside:
            return _ended(inside)
        if word == "one_of" and isinstance(inside, list) and inside:
            return one_of(*(from_json(one) for one in inside))
    raise ExpectationError(
        'an expectation is {"answered": {"by": […], "source": […]}}, {"ended": ["refused", …]} or '
        f'{{"one_of": […]}}, not {repr(value)[:80]}',
    )


def strangers(outcomes: Iterable[Outcome], known: Iterable[str]) -> list[Outcome]:
    """The answers that came from nobody in ``known`` (nonces), in the order given."""
    ours = frozenset(known)
    return [outcome for outcome in outcomes if outcome.kind == "answered" and outcome.by not in ours]


def _ended(kinds: list[Any]) -> Ended:
    for kind in kinds:
        if kind not in _ENDS:
            raise ExpectationError(f"an attempt ends {', '.join(_ENDS)}; {kind!r} is none of them")
    return Ended(frozenset(kinds))


def _texts(inside: Mapping[str, Any], key: str) -> frozenset[str] | None:
    if key not in inside:
        return None
    value = inside[key]
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise ExpectationError(f"{key} of an expectation is a list of texts, not {repr(value)[:80]}")
    if key == "source":
        for one in value:
            try:
                ipaddress.ip_network(one, strict=False)
            except ValueError:
                raise ExpectationError(f"source {one!r} is no address or network (10.42.0.0/24)") from None
    return frozenset(value)


def _within(peer: str, networks: frozenset[str]) -> bool:
    """True when the address of ``peer`` (``ip:port`` or ``[ip6]:port``) lies in one of ``networks``."""
    try:
        address = ipaddress.ip_address(_host(peer).partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(one, strict=False) for one in networks)


def _host(peer: str) -> str:
    return peer.rpartition(":")[0].strip("[]")


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
