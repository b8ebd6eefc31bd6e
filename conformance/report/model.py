"""What every report says, whatever its format: made from evidence records alone."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance import evidence
from conformance.evidence import Record
from conformance.requirements import ID, locked_ids
from conformance.verdict import Finding, Judgement, Overall, Verdict, exit_code, judge

_SELECTION = frozenset({"--requirement", "--area", "--profile", "--level", "-k"})  # each takes one word
_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9-]*-(?:[0-9]{2,3}|[0-9]*\*)")  # requirements, as they are asked for


@dataclass(frozen=True)
class Row:
    """One requirement in the report."""

    id: str
    area: str
    level: str
    sentence: str
    source: str
    verdict: Verdict
    reason: str
    numbers: Mapping[str, Any]
    checks: tuple[Mapping[str, Any], ...]
    findings: tuple[Finding, ...]

    @property
    def seconds(self) -> float:
        """How long its body took; 0.0 when it did not run."""
        return float(self.numbers.get("seconds", 0.0))

    def figures(self) -> str:
        """The numbers in words, on one line; empty when there are none."""
        parts = (_counted(self.numbers), _shared(self.numbers), _timed(self.numbers))
        return "; ".join(said for said in parts if said)


@dataclass(frozen=True)
class Report:
    """One run, judged."""

    facts: Mapping[str, Any]  # of the header: run, suite, commit, dirty, command, kernel, cluster, options, …
    ended: str
    rows: tuple[Row, ...]
    judgement: Judgement
    missing: Mapping[str, int] = field(default_factory=dict)  # rows of ids.lock not in this run, by area
    records: tuple[Record, ...] = ()  # the evidence itself, for what is drawn
    digest: str = ""  # sha256 of the evidence file, where there is one

    @property
    def overall(self) -> Overall:
        """What can be said of the whole."""
        return self.judgement.overall

    @property
    def exit_code(self) -> int:
        """0 conformant, 1 failed, 2 unknown or partial, 3 nothing, 4 the suite's own error."""
        return exit_code(self.judgement)

    @property
    def counts(self) -> dict[str, int]:
        """How many requirements have each verdict, worst first; zeros left out."""
        seen = Counter(row.verdict for row in self.rows)
        return {verdict.value: seen[verdict] for verdict in Verdict if seen[verdict]}

    @property
    def implementation(self) -> Mapping[str, Any]:
        """Name, version and features of who is judged, as far as the run said."""
        said = self.facts.get("implementation")
        told = dict(said) if isinstance(said, Mapping) else {"name": str(said or "")}
        return {**told, "name": told.get("name") or "whatever serves there"}

    def of(self, *verdicts: Verdict) -> list[Row]:
        """The rows of these verdicts, in the run's order."""
        return [row for row in self.rows if row.verdict in verdicts]

    def rerun(self) -> str:
        """The command that runs only what is not green again; empty when all is."""
        ids = [row.id for row in self.of(Verdict.FAIL, Verdict.SUITE_ERROR, Verdict.UNKNOWN, Verdict.NOT_RUN)]
        return rerun_command(self.facts, ids) if ids else ""

    def rerun_of(self, id: str) -> str:
        """The command that runs this one requirement again."""
        return rerun_command(self.facts, [id])


def load(path: Path) -> Report:
    """The report on the evidence file at ``path``, with its digest. Raises EvidenceError as ``read`` does."""
    records = evidence.read(path)
    return build(records, digest=hashlib.sha256(path.read_bytes()).hexdigest())


def build(records: Sequence[Record], *, digest: str = "") -> Report:
    """Judge ``records`` and gather what a report says. Raises EvidenceError as ``judge`` does."""
    judgement = judge(records)
    header, footer = records[0], records[-1]
    entries = {entry["id"]: entry for entry in header["requirements"]}
    rows = tuple(_row(ruling.id, entries.get(ruling.id, {}), judgement, number)
                 for number, ruling in enumerate(judgement.rulings))
    missing = Counter(area for id, area in locked_ids().items() if id not in entries and area != "dropped")
    facts = {key: value for key, value in header.items() if key not in {"type", "requirements"}}
    return Report(facts, footer["ended"], rows, judgement, dict(missing), tuple(records), digest)


def rerun_command(facts: Mapping[str, Any], ids: Sequence[str]) -> str:
    """The run's own command, its selection replaced by ``ids``; the command is a text or its arguments."""
    command = facts.get("command") or "service-conformance run"
    words = [str(word) for word in command] if isinstance(command, list) else _split(str(command))
    kept: list[str] = []
    option = ""  # the option whose value the next word is
    for word in words:
        selects = option in _SELECTION or (not option and _NAMES.fullmatch(word))
        began = word if word.startswith("-") and "=" not in word else ""
        if not selects and word.partition("=")[0] not in _SELECTION:
            kept.append(word)
        option = began if not option else ""
    if any("pytest" in word for word in words[:3]):
        return shlex.join([*kept, "-k", " or ".join(ids)])
    return shlex.join([*kept, *ids])


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _row(id: str, entry: Mapping[str, Any], judgement: Judgement, number: int) -> Row:
    ruling = judgement.rulings[number]
    matched = ID.match(id)
    area = entry.get("area") or (matched["area"] if matched else id)
    return Row(
        id, str(area), str(entry.get("level", "")), str(entry.get("sentence", "")),
        str(entry.get("source", "")), ruling.verdict, ruling.reason, ruling.numbers, ruling.checks,
        ruling.findings,
    )


def _counted(numbers: Mapping[str, Any]) -> str:
    """How many attempts, and what may still be wrong."""
    if "n" not in numbers:
        return ""
    said = f"n {numbers['n']:,}"
    if "bound95" in numbers:
        wrong = f", {numbers['violations']} not acceptable" if numbers.get("violations") else ""
        return f"{said}{wrong}, ≤ {numbers['bound95']:.2%} at 95 %"
    return said


def _shared(numbers: Mapping[str, Any]) -> str:
    """The shares, their p-value, and what the sample would have shown."""
    if "shares" not in numbers:
        return ""
    split = " / ".join(f"{share:.1%}" for share in numbers["shares"].values())
    shift = numbers.get("smallest_shift")
    power = f", shows a shift of {shift * 100:.1f} points" if shift else ""
    return f"shares {split}, p {numbers['p_value']:.2g}{power}"


def _timed(numbers: Mapping[str, Any]) -> str:
    """What was measured in seconds."""
    words = {"settled_s": "settled in", "longest_gap_s": "longest gap", "lost_s": "lost"}
    names = [*words, *(name for name in numbers if name.endswith("_s") and name not in words)]
    said = [f"{words.get(name, name[:-2].replace('_', ' '))} {numbers[name]:.3f} s"
            for name in names if numbers.get(name) is not None]
    if "seconds" in numbers:
        said.append(f"took {numbers['seconds']:.1f} s")
    return ", ".join(said)
