"""The report as one page: no script, no other file, no network. All evidence is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from conformance.evidence import Record
from conformance.report import text
from conformance.report.model import Report, Row
from conformance.report.pictures import Picture, pictures
from conformance.requirements import locked_ids
from conformance.verdict import Overall, Verdict

MOST_FINDINGS = 12  # told of one requirement; the others are in report.json
ABSENT = "not in this run"
_SHAPES = {
    Overall.CONFORMANT: "pass", Overall.FAILED: "fail", Overall.SUITE_ERROR: "suite-error",
    Overall.UNKNOWN: "unknown", Overall.PARTIAL: "unknown", Overall.NOTHING: "not-run",
}
_SECTIONS = (
    ("failures", "Failures", (Verdict.FAIL,)),
    ("undecided", "Not decided", (Verdict.SUITE_ERROR, Verdict.UNKNOWN, Verdict.NOT_RUN)),
    ("held", "Seen to hold", (Verdict.PASS,)),
    ("unsupported", "Not supported", (Verdict.UNSUPPORTED,)),
)
_LEVELS = {
    "core": "core: every implementation", "ext": "extended: where declared",
    "impl": "differs legitimately: held to what is declared",
}
# Control characters, halves of surrogates, and the marks that turn the direction of everything after them.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


@dataclass(frozen=True)
class Entry:
    """One requirement as the page shows it."""

    row: Row
    level: str
    figures: Sequence[tuple[str, str]]
    pictures: Sequence[Picture]
    snapshots: Sequence[tuple[str, str]]  # what it is, and where; no place where it must not be linked


@dataclass(frozen=True)
class Area:
    """One line of the matrix."""

    name: str
    tiles: Sequence[tuple[str, str]]  # ID, and its verdict or ``ABSENT``
    counts: Mapping[str, int]


def render(report: Report, *, base: str = "") -> str:
    """The whole page. ``base`` leads from the page's folder to the evidence's, where snapshots lie."""
    grouped: dict[str, list[Record]] = {row.id: [] for row in report.rows}
    for record in report.records:
        if "id" in record:
            grouped.setdefault(record["id"], []).append(record)
    entries = [_entry(row, grouped[row.id], base) for row in report.rows]
    sections = [
        (anchor, title, [entry for entry in entries if entry.row.verdict in verdicts])
        for anchor, title, verdicts in _SECTIONS
    ]
    columns = [verdict.value for verdict in reversed(Verdict)] + [ABSENT]
    rows = areas(report)
    totals = {column: sum(area.counts.get(column, 0) for area in rows) for column in columns}
    return _template().render(
        report=report, shape=_SHAPES[report.overall], said=text.SENTENCES[report.overall],
        subject=text.subject(report), facts=facts(report), outline=outline(report),
        sections=sections, areas=rows, columns=columns, totals=totals, most=MOST_FINDINGS,
        command=_command(report), absent=sum(report.missing.values()),
    )


def facts(report: Report) -> list[tuple[str, str]]:
    """What the run was, in the header's order."""
    left_out = {"schema", "implementation", "cluster", "command"}
    shown = {key: value for key, value in report.facts.items() if key not in left_out}
    declared = text.pairs(report.implementation.get("features") or {}) or "none"
    pairs = {**shown, "ended": report.ended, "declared features": declared}
    return [(key.replace("_", " "), text.pairs(value)) for key, value in pairs.items()]


def outline(report: Report) -> list[tuple[str, str]]:
    """The few facts that stand beside the verdict: when, what was judged with what, and on what."""
    told = report.facts
    commit = str(told.get("commit") or "")[:12]
    commit += ", changed" if commit and told.get("dirty") is True else ""
    made = f"{told.get('suite') or ''} ({commit})" if commit else str(told.get("suite") or "")
    declared = text.pairs(report.implementation.get("features") or {}) or "none"
    pairs = {
        "started": told.get("started"), "suite": made.strip(), "Kubernetes": told.get("kubernetes"),
        "kernel": told.get("kernel"), "declared features": declared,
    }
    return [(key, str(value)) for key, value in pairs.items() if value]


def areas(report: Report) -> list[Area]:
    """Every ID ever published and every one of this run, by area, with its verdict."""
    tiles: dict[str, dict[str, str]] = {}
    for id, area in locked_ids().items():
        if area != "dropped":
            tiles.setdefault(area, {})[id] = ABSENT
    for row in report.rows:
        tiles.setdefault(row.area, {})[row.id] = row.verdict.value
    return [
        Area(name, list(found.items()), {one: list(found.values()).count(one) for one in set(found.values())})
        for name, found in tiles.items()
    ]


def figures(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers of a requirement in words, each with the bound that goes with it."""
    found: list[tuple[str, str]] = []
    if "n" in numbers:
        found.append(("attempts", f"{numbers['n']:,}"))
    if "bound95" in numbers:
        told = f"{numbers.get('violations', 0):,} seen; the true rate is ≤ {numbers['bound95']:.2%} at 95 %"
        found.append(("not acceptable", told))
    if "shares" in numbers:
        found.append(("shares", " / ".join(f"{share:.1%}" for share in numbers["shares"].values())))
        found.append(("chance of such a split from equal shares", f"p = {numbers['p_value']:.2g}"))
        if numbers.get("smallest_shift"):
            found.append(("would have shown, at 99.9 %", f"a shift of {numbers['smallest_shift']:.1%}"))
    if "backends_seen" in numbers:
        found.append(("backends seen", f"{numbers['backends_seen']:,}"))
    words = {"settled_s": "settled after", "longest_gap_s": "longest gap", "lost_s": "time lost"}
    for name, value in numbers.items():
        if name.endswith("_s"):
            told = "never good" if value is None else f"{value:.3f} s"
            found.append((words.get(name, name[:-2].replace("_", " ")), told))
    return [*found, ("took", f"{numbers['seconds']:.1f} s")] if "seconds" in numbers else found


def link(file: str, base: str = "") -> str:
    """Where a file beside the evidence is, as a relative link; empty for what leads anywhere else."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        return ""
    led = PurePosixPath(base) / path
    said = quote(str(led), safe="/", errors="replace")
    return said if led.is_absolute() else f"./{said}"


def _entry(row: Row, records: Sequence[Record], base: str) -> Entry:
    snapshots = [
        (f"{record['node']}: {record['name']}", link(record["file"], base))
        for record in records if record["type"] == "snapshot"
    ]
    return Entry(row, _LEVELS.get(row.level, row.level), figures(row.numbers), pictures(records), snapshots)


def _command(report: Report) -> str:
    command = report.facts.get("command") or ""
    return " ".join(map(str, command)) if isinstance(command, list) else str(command)


def _shown(value: Any) -> Any:
    """What a page cannot hold, or must not be steered by, is replaced."""
    if isinstance(value, Markup):
        return Markup(_UNSHOWABLE.sub("�", str(value)))  # escaped already
    return _UNSHOWABLE.sub("�", value) if isinstance(value, str) else value


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_shown,
    )
    return environment.get_template("report.html")
