"""Evidence → verdict. Pure: the same records give the same judgement anywhere, in any order of probes.

Of everything recorded for a requirement the worst counts, in the order of ``Verdict``: fail, suite-error,
unknown, not-run, unsupported, pass. Passing takes at least one expectation, and every one of them to hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from conformance import evidence, kinds, statistics, values
from conformance.checks import Attempt, Check, ParameterError, Verdict, many
from conformance.evidence import Record

__all__ = ["Finding", "Judgement", "Overall", "Ruling", "Verdict", "exit_code", "judge"]

LAST = 10  # outcomes shown below a failure, up to the one that decided


class Overall(StrEnum):
    """What can be said of the whole run, worst first."""

    FAILED = "failed"
    SUITE_ERROR = "suite-error"
    UNKNOWN = "unknown"
    PARTIAL = "partial"  # nothing failed, but a core requirement was not run or is not supported
    NOTHING = "nothing"
    CONFORMANT = "conformant"


@dataclass(frozen=True)
class Finding:
    """Why a requirement is not seen to hold: seven parts, always in this order, and the last outcomes."""

    requirement: str
    done: str
    expected: str
    actual: str
    where: str
    when: str
    next_step: str
    last: tuple[str, ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """The seven parts with their names, in order."""
        return [
            ("requirement", self.requirement), ("done", self.done), ("expected", self.expected),
            ("actual", self.actual), ("where", self.where), ("when", self.when),
            ("next step", self.next_step),
        ]


@dataclass(frozen=True)
class Ruling:
    """The verdict of one requirement."""

    id: str
    verdict: Verdict
    reason: str = ""  # one sentence, where the verdict is neither pass nor fail
    findings: tuple[Finding, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()  # each expectation: kind, subject, says, verdict, numbers


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a run, in the order of its header."""

    rulings: tuple[Ruling, ...]
    overall: Overall
    interrupted: bool

    def of(self, verdict: Verdict) -> list[Ruling]:
        """The rulings of one verdict."""
        return [ruling for ruling in self.rulings if ruling.verdict is verdict]


def judge(records: Sequence[Record]) -> Judgement:
    """Judge a whole run. Raises EvidenceError when the records are not those of a finished run."""
    for record in records:
        evidence.check(record)
    evidence.complete(records)
    header, footer = records[0], records[-1]
    selected = {entry["id"]: entry for entry in header["requirements"]}
    grouped: dict[str, list[Record]] = {id: [] for id in selected}
    for record in records[1:-1]:
        grouped.setdefault(record["id"], []).append(record)
    rulings = tuple(
        _Case(header, selected.get(id), id, found, footer["interrupted"]).ruling()
        for id, found in grouped.items()
    )
    return Judgement(rulings, _overall(rulings, selected, footer["interrupted"]), footer["interrupted"])


def exit_code(judgement: Judgement) -> int:
    """0 conformant · 1 failed · 2 unknown or partly shown · 3 nothing selected · 4 the suite's own error."""
    return {
        Overall.CONFORMANT: 0, Overall.FAILED: 1, Overall.UNKNOWN: 2, Overall.PARTIAL: 2, Overall.NOTHING: 3,
        Overall.SUITE_ERROR: 4,
    }[judgement.overall]


def _overall(rulings: Sequence[Ruling], selected: Mapping[str, Record], interrupted: bool) -> Overall:
    """Failed, suite-error, unknown, partial, nothing, conformant: the first that is true."""
    seen = {ruling.verdict for ruling in rulings}
    missing = {ruling.id for ruling in rulings if _is_missed(ruling, selected.get(ruling.id, {}))}
    order = (
        (Overall.FAILED, Verdict.FAIL in seen), (Overall.SUITE_ERROR, Verdict.SUITE_ERROR in seen),
        (Overall.UNKNOWN, Verdict.UNKNOWN in seen or interrupted), (Overall.PARTIAL, bool(missing)),
        (Overall.NOTHING, Verdict.PASS not in seen), (Overall.CONFORMANT, True),
    )
    return next(overall for overall, holds in order if holds)


def _is_missed(ruling: Ruling, entry: Record) -> bool:
    """True for a core requirement that was not judged; one of an optional feature may be unsupported."""
    if entry.get("level") != "core":
        return False
    return ruling.verdict is Verdict.NOT_RUN or (
        ruling.verdict is Verdict.UNSUPPORTED and not entry.get("features"))


@dataclass(frozen=True)
class _Expectation:
    """One expect record and what it came to."""

    record: Record
    subject: str
    check: Check
    attempts: tuple[Attempt, ...]


class _Case:
    """Everything recorded for one requirement."""

    def __init__(
        self, header: Record, entry: Record | None, id: str, records: Sequence[Record], interrupted: bool,
    ) -> None:
        self.header, self.entry, self.id = header, entry, id
        self.records, self.interrupted = records, interrupted
        self.sentence = entry["sentence"] if entry else "(not among the selected requirements)"

    def ruling(self) -> Ruling:
        """The worst of what the expectations came to and of what the engine recorded."""
        met = [self._meet(record) for record in self._of("expect")]
        said = self._said(met)
        said += [(one.check.verdict, f"{one.record['says']}: {one.check.actual}") for one in met]
        order = list(Verdict)
        verdict, reason = min(said, key=lambda pair: order.index(pair[0]))
        findings = tuple(self._finding(one) for one in met if one.check.verdict is Verdict.FAIL)
        if verdict in {Verdict.PASS, Verdict.FAIL}:
            reason = ""
        return Ruling(self.id, verdict, reason, findings, self._numbers(met), tuple(map(_as_json, met)))

    def _of(self, kind: str) -> list[Record]:
        return [record for record in self.records if record["type"] == kind]

    def _said(self, met: Sequence[_Expectation]) -> list[tuple[Verdict, str]]:
        """What the engine recorded, and what is missing from the record."""
        said = [
            (verdict, str(record["reason"]))
            for kind, verdict in (
                ("error", Verdict.SUITE_ERROR), ("unknown", Verdict.UNKNOWN), ("not-run", Verdict.NOT_RUN),
                ("unsupported", Verdict.UNSUPPORTED),
            )
            for record in self._of(kind)
        ]
        if self.entry is None:
            said.append((Verdict.SUITE_ERROR, "recorded, though the header does not select it"))
        elif not said and not self._of("done"):
            if self.interrupted:
                said.append((Verdict.NOT_RUN, "the run was interrupted before it ended"))
            else:
                said.append((Verdict.SUITE_ERROR, "selected, but nothing says that it ended"))
        elif not said and not met:
            said.append((Verdict.SUITE_ERROR, "checked nothing: no expectation was recorded"))
        return said

    def _meet(self, record: Record) -> _Expectation:
        """Judge one expect record; the suite's own mistakes become suite-error."""
        kind, params = record["kind"], record["params"]
        subject = str(record.get("series") or record.get("name") or "")
        attempts = self._attempts(subject) if "series" in record else ()
        try:
            if kind in kinds.SERIES and "series" in record:
                if not attempts:
                    raise ParameterError(f"no attempt was recorded in the series {subject!r}")
                check = kinds.SERIES[kind](attempts, params)
            elif kind in values.VALUES and "name" in record:
                check = values.judge_value(kind, self._values(subject), params)
            else:
                raise ParameterError(f"there is no kind {kind!r} for that subject")
        except ParameterError as error:
            check = Check(Verdict.SUITE_ERROR, "", f"{kind} cannot be judged: {error}")
        return _Expectation(record, subject, check, tuple(attempts))

    def _attempts(self, series: str) -> Sequence[Attempt]:
        """The attempts of ``series`` in time order, whatever parts they were written in."""
        found = [
            Attempt(outcome, record["from"], record["to"], record["protocol"])
            for record in self._of("probes") if record["series"] == series
            for outcome in evidence.outcomes_of(record)
        ]
        return sorted(found, key=Attempt.order)

    def _values(self, name: str) -> list[Any]:
        found = [record["value"] for record in self._of("value") if record["name"] == name]
        if not found:
            raise ParameterError(f"no value {name!r} was recorded")
        return found

    def _numbers(self, met: Sequence[_Expectation]) -> dict[str, Any]:
        """The numbers of the requirement: those of its expectations, counts added up, times the worst."""
        numbers: dict[str, Any] = {}
        own: dict[str, int] = {"n": 0, "violations": 0}
        for one in met:
            for name, value in one.check.numbers.items():
                if name.endswith("_s") and isinstance(numbers.get(name), float) and value is not None:
                    value = max(value, numbers[name])  # noqa: PLW2901 - the worst of several
                numbers[name] = value
            if one.record["kind"] == "every":
                own["n"] += one.check.numbers.get("n", 0)
                own["violations"] += one.check.numbers.get("violations", 0)
        if own["n"]:
            numbers |= own | {"bound95": statistics.upper_bound(own["violations"], own["n"])}
        for record in self._of("value"):  # a number whose name says seconds was measured for the report
            if record["name"].endswith("_s") and isinstance(record["value"], float | int):
                numbers.setdefault(record["name"], record["value"])
        seconds = [record["seconds"] for record in self._of("done")]
        return numbers | ({"seconds": seconds[-1]} if seconds else {})

    def _finding(self, one: _Expectation) -> Finding:
        """The seven parts of a failed expectation."""
        decided = one.check.decided
        at = decided.outcome.at if decided else one.record["at"]
        where = f"{decided.origin} → {decided.target} ({decided.protocol})" if decided else one.subject
        return Finding(
            f"{self.id} {self.sentence}", self._done(at, one), f"{one.record['says']}: {one.check.expected}",
            one.check.actual, where, _when(self.header["started"], at), self._next_step(decided),
            _last(one.attempts, decided),
        )

    def _done(self, at: float, one: _Expectation) -> str:
        """The steps and faults until ``at``, the last three; or else what was sent."""
        told = sorted(self._of("step") + self._of("fault"), key=lambda record: (record["at"], record["text"]))
        before = [record for record in told if record["at"] <= at] or told[:1]
        sent = f"sent {many(len(one.attempts), 'attempt')} of {one.subject}"
        sent = sent if one.attempts else f"asked for {one.subject}"
        return "; then ".join(record["text"] for record in before[-3:]) or sent

    def _next_step(self, decided: Attempt | None) -> str:
        """What to look at, by how the deciding attempt ended, and where it was stored."""
        kind = decided.outcome.kind if decided else ""
        look = {
            "timeout": "find the node where the packets stop: its rules for this address, then conntrack",
            "refused": "see which rule rejects, and whether the backend listens on the port it is sent to",
            "reset": "see who sends the reset: conntrack of the node, then the backend's log",
            "unreachable": "see which hop says so: routes and reject rules of the node",
            "closed": "see the backend's log: the connection was opened and nothing was said",
            "answered": "see which rule sends there: the outcomes below say who answered",
        }.get(kind, "compare what came with what was expected; the value is in the evidence")
        if decided and kind != "closed" and str(self.header.get("cluster", "")).startswith("netns"):
            look += ", or let `service-conformance trace` follow such a connection rule by rule"
        files = {record["file"] for record in self._of("snapshot")}
        folders = ", ".join(sorted({str(PurePosixPath(file).parent) for file in files}))
        return f"{look}; stored on failure: {many(len(files), 'file')} in {folders}" if files else look


def _last(attempts: Sequence[Attempt], decided: Attempt | None) -> tuple[str, ...]:
    """The outcomes up to the deciding one, at most ten, oldest first."""
    if decided is None:
        return ()
    until = attempts.index(decided) + 1 if decided in attempts else len(attempts)
    return tuple(
        f"{one.outcome.at:10.3f} s  {one.outcome.sentence()}" for one in attempts[max(0, until - LAST):until]
    )


def _when(started: str, at: float) -> str:
    """Seconds into the run, and the time of day where ``started`` can be read."""
    said = f"{at:.3f} s into the run"
    try:
        moment = datetime.fromisoformat(started) + timedelta(seconds=at)
    except (ValueError, OverflowError):
        return said
    return f"{said} ({moment.isoformat(timespec='milliseconds')})"


def _as_json(one: _Expectation) -> Mapping[str, Any]:
    """One expectation as the report's document holds it."""
    return {
        "kind": one.record["kind"], "subject": one.subject, "says": one.record["says"],
        "verdict": one.check.verdict.value, "expected": one.check.expected, "actual": one.check.actual,
        "numbers": dict(one.check.numbers),
    }
