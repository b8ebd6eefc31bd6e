"""The report for people: verdict first, one line a requirement, seven lines a failure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from conformance.report.model import Report, Row
from conformance.verdict import Finding, Overall, Verdict

_COLOURS = {
    Verdict.PASS: "32", Verdict.FAIL: "31;1", Verdict.SUITE_ERROR: "35;1", Verdict.UNKNOWN: "33",
    Verdict.NOT_RUN: "33", Verdict.UNSUPPORTED: "36",
}
SENTENCES = {
    Overall.CONFORMANT: "every selected requirement that applies was seen to hold",
    Overall.FAILED: "at least one requirement was seen not to hold",
    Overall.UNKNOWN: "at least one requirement could not be decided, and unknown is never green",
    Overall.PARTIAL: "nothing failed, but a core requirement was not run or is not supported",
    Overall.SUITE_ERROR: "the judge itself broke at one requirement; that says nothing about who is judged",
    Overall.NOTHING: "no requirement was judged",
}
_WIDTH = max(len(verdict) for verdict in Verdict)
_LABEL = len("requirement")
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f]")


def render(report: Report, *, colours: bool = False) -> str:
    """The whole report as text; with ``colours`` the verdicts carry terminal colours."""
    return "\n".join(_lines(report, colours)) + "\n"


def show(report: Report, stream: TextIO) -> None:
    """Print the report, in colour when ``stream`` is a terminal and NO_COLOR is not set."""
    stream.write(render(report, colours=stream.isatty() and not os.environ.get("NO_COLOR")))


def line(row: Row, *, colours: bool = False) -> str:
    """One requirement on one line: verdict, ID, sentence, numbers, and the reason where there is one."""
    sentence = row.sentence if len(row.sentence) <= 72 else row.sentence[:71].rstrip() + "…"
    said = [f"  {row.id:<13} {sentence}"]
    said += [f"[{row.figures()}]"] if row.figures() else []
    said += [f"({row.reason})"] if row.reason else []
    return _paint(row.verdict, colours) + _one_line("  ".join(said))


def failure(finding: Finding) -> list[str]:
    """The seven lines of a failure, always in the same order, and the last outcomes below."""
    said = [f"  {name:<{_LABEL}}  {' '.join(value.split())}" for name, value in finding.lines()]
    return [_one_line(told) for told in [*said, *(f"  {'':<{_LABEL}}  {one}" for one in finding.last)]]


def failures(row: Row) -> list[str]:
    """The first failure of a requirement in full, each other one on a line: what came, and where."""
    if not row.findings:
        return []
    first, *others = row.findings
    also = [f"  {'also':<{_LABEL}}  {one.actual}  [{one.where}; expected: {one.expected}]" for one in others]
    return failure(first) + [_one_line(told) for told in also]


def headline(report: Report) -> str:
    """The verdict in one line: what, of whom, where, and how many."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items()) or "nothing"
    return _one_line(f"{report.overall.value.upper()}  {subject(report)}: {counts}")


def subject(report: Report) -> str:
    """Who was judged, and where."""
    name = " ".join(str(report.implementation.get(key, "")) for key in ("name", "version")).strip()
    cluster = report.facts.get("cluster")
    place = cluster.get("url", "") if isinstance(cluster, Mapping) else str(cluster or "")
    return f"{name} on {place}" if place else name


def _lines(report: Report, colours: bool) -> Iterator[str]:
    yield headline(report)
    cut = " The run was interrupted." if report.judgement.interrupted else ""
    yield f"({SENTENCES[report.overall]}; exit status {report.exit_code}.{cut})"
    yield ""
    yield from (line(row, colours=colours) for row in report.rows)
    for row in report.of(Verdict.FAIL):
        yield ""
        yield from failures(row)
    if report.rerun():
        yield ""
        yield "Only what is not green again:"
        yield f"  {report.rerun()}"
    yield ""
    yield from _about(report)


def _about(report: Report) -> Iterator[str]:
    """What was not judged, what was declared, and what the run was."""
    if report.missing:
        areas = ", ".join(f"{area} {count}" for area, count in report.missing.items())
        yield f"Not in this run: {sum(report.missing.values())} published requirements ({areas})"
    declared = report.implementation.get("features") or {}
    yield f"Declared features: {pairs(declared) or 'none'}"
    shown = {key: value for key, value in report.facts.items() if key not in {"schema", "implementation"}}
    for key, value in {**shown, "ended": report.ended}.items():
        yield _one_line(f"{key}: {pairs(value)}")


def pairs(values: Any) -> str:
    """An object as ``key=value`` pairs, those without a value left out; anything else as it is."""
    if not isinstance(values, Mapping):
        return str(values)
    return ", ".join(f"{key}={value}" for key, value in values.items() if value not in ("", [], None))


def _one_line(said: str) -> str:
    """``said`` without line breaks and control characters: what the judged says must not steer a terminal."""
    return _CONTROL.sub("�", " ".join(said.splitlines()))


def _paint(verdict: Verdict, colours: bool) -> str:
    word = f"{verdict.value:<{_WIDTH}}"
    return f"\x1b[{_COLOURS[verdict]}m{word}\x1b[0m" if colours else word
