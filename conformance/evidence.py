"""What was seen, as append-only JSON lines: header, steps, probes, values, expectations, footer.

Everything is collected first and judged afterwards (``verdict.py``), so a run can be judged again without
a cluster. A file without its footer was cut, and a cut file is refused: a verdict on half of it is a lie.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
Record = dict[str, Any]

KINDS = ("answered", "refused", "reset", "timeout", "unreachable", "closed", "error")
"""How one attempt ended. ``error`` is the prober's own trouble: it says nothing about who is judged."""

_FIELDS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "header": {"schema": (int,), "run": (str,), "started": (str,), "requirements": (list,)},
    "step": {"id": (str,), "at": (float, int), "text": (str,)},
    "probes": {
        "id": (str,), "at": (float, int), "series": (str,), "from": (str,), "to": (str,), "protocol": (str,),
        "n": (int,), "outcomes": (list,),
    },
    "value": {"id": (str,), "at": (float, int), "name": (str,), "value": ()},
    "fault": {"id": (str,), "at": (float, int), "text": (str,)},
    "expect": {"id": (str,), "at": (float, int), "kind": (str,), "params": (dict,), "says": (str,)},
    "unsupported": {"id": (str,), "reason": (str,)},
    "not-run": {"id": (str,), "reason": (str,)},
    "error": {"id": (str,), "reason": (str,), "traceback": (str,)},
    "unknown": {"id": (str,), "reason": (str,)},
    "done": {"id": (str,), "at": (float, int), "seconds": (float, int)},
    "snapshot": {"id": (str,), "node": (str,), "name": (str,), "file": (str,)},
    "footer": {"ended": (str,), "requirements": (int,), "interrupted": (bool,)},
}


class EvidenceError(Exception):
    """The evidence cannot be judged: names the line, what was expected there, and what to do next."""


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended, as the prober saw it."""

    kind: str  # one of KINDS
    by: str = ""  # nonce of the backend that answered; empty when none did
    peer: str = ""  # "ip:port" of the client as the backend saw it
    at: float = 0.0  # seconds since the run began, when the attempt was sent
    ms: float = 0.0  # milliseconds until it ended
    detail: str = ""  # the error's own words, or what the backend said besides
    source: str = ""  # "ip:port" of the client as the client saw it

    def to_row(self) -> list[Any]:
        """The outcome as it stands in a ``probes`` record."""
        return [self.at, self.kind, self.by, self.peer, self.ms, self.detail, self.source]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Outcome:
        """Inverse of ``to_row``; raises EvidenceError with what is wrong."""
        if not isinstance(row, list | tuple) or len(row) != 7:
            raise EvidenceError(f"an outcome is [at, kind, by, peer, ms, detail, source], not {_short(row)}")
        at, kind, by, peer, ms, detail, source = row
        if kind not in KINDS:
            raise EvidenceError(f"outcome kind {_short(kind)} is none of {', '.join(KINDS)}")
        if not _is(at, (float, int)) or not _is(ms, (float, int)) or not _finite(at, ms):
            raise EvidenceError(f"at and ms of an outcome are numbers, not {_short(at)} and {_short(ms)}")
        for text in (by, peer, detail, source):
            if not isinstance(text, str):
                raise EvidenceError(f"by, peer, detail and source of an outcome are text, not {_short(text)}")
        return cls(kind, by, peer, float(at), float(ms), detail, source)

    def sentence(self) -> str:
        """The outcome in words, without when."""
        words = {
            "answered": f"answered by {self.by or 'nobody who gave a name'}",
            "refused": "refused", "reset": "reset by the peer", "timeout": "no answer (timed out)",
            "unreachable": "unreachable", "closed": "closed without an answer", "error": "the prober failed",
        }[self.kind]
        seen = f", who saw the client as {self.peer}" if self.peer else ""
        said = f" ({self.detail})" if self.detail else ""
        return f"{words}{seen} after {self.ms:.1f} ms{said}"


class Evidence:
    """Writer of one evidence file. Each record is one line, flushed at once; safe from several threads."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.clock = clock
        self.began = clock()
        self._lock = threading.Lock()
        self._file = path.open("x", encoding="utf-8", errors="backslashreplace")
        self._judged: set[str] = set()

    def now(self) -> float:
        """Seconds since the run began, on this run's clock."""
        return round(self.clock() - self.began, 6)

    def write(self, record: Record) -> None:
        """Append ``record``; raises EvidenceError when it is not one of the known records."""
        check(record)
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        with self._lock:
            if self._file.closed:
                raise EvidenceError(f"{self.path} has its footer already; nothing can be added to it")
            self._file.write(line + "\n")
            self._file.flush()
            if record["type"] in {"done", "unsupported", "not-run", "error", "unknown"}:
                self._judged.add(record["id"])

    def header(self, *, run: str, started: str, requirements: Sequence[Record], **facts: Any) -> None:
        """First line. ``facts``: suite, commit, dirty, command, kernel, python, cluster, options, …

        ``requirements`` are the selected ones: id, level, sentence, source, area, needs, features of each.
        """
        self.write({
            "type": "header", "schema": SCHEMA, "run": run, "started": started, **facts,
            "requirements": list(requirements),
        })

    def step(self, id: str, text: str) -> None:
        """The body of ``id`` does ``text`` now."""
        self.write({"type": "step", "id": id, "at": self.now(), "text": text})

    def probes(
        self, id: str, *, series: str, origin: str, target: str, protocol: str, outcomes: Sequence[Outcome],
    ) -> None:
        """Attempts from vantage ``origin`` to ``target``; one series may be written in several parts."""
        self.write({
            "type": "probes", "id": id, "at": self.now(), "series": series, "from": origin, "to": target,
            "protocol": protocol, "n": len(outcomes), "outcomes": [outcome.to_row() for outcome in outcomes],
        })

    def value(self, id: str, name: str, value: Any) -> None:
        """Something seen that is not an attempt, such as the API server's answer; any JSON."""
        self.write({"type": "value", "id": id, "at": self.now(), "name": name, "value": value})

    def fault(self, id: str, text: str, at: float | None = None) -> None:
        """A fault was injected or healed, now or at ``at`` seconds since the run began."""
        self.write({"type": "fault", "id": id, "at": self.now() if at is None else at, "text": text})

    def expect(
        self, id: str, kind: str, *, says: str, series: str = "", name: str = "",
        params: Record | None = None,
    ) -> None:
        """What must be seen in ``series`` (or in the value ``name``); verdict.py has kinds and params."""
        subject = {"series": series} if series else {"name": name}
        self.write({
            "type": "expect", "id": id, "at": self.now(), "kind": kind, **subject, "params": params or {},
            "says": says,
        })

    def unsupported(self, id: str, reason: str) -> None:
        """The implementation does not declare it, or this cluster has no such power."""
        self.write({"type": "unsupported", "id": id, "reason": reason})

    def not_run(self, id: str, reason: str) -> None:
        """It was selected and not run (no rig, run interrupted)."""
        self.write({"type": "not-run", "id": id, "reason": reason})

    def error(self, id: str, reason: str, traceback: str = "") -> None:
        """The suite itself failed at it."""
        self.write({"type": "error", "id": id, "reason": reason, "traceback": traceback})

    def unknown(self, id: str, reason: str) -> None:
        """It could not be measured (dead vantage, too much noise)."""
        self.write({"type": "unknown", "id": id, "reason": reason})

    def done(self, id: str, seconds: float) -> None:
        """The body ended after ``seconds``."""
        self.write({"type": "done", "id": id, "at": self.now(), "seconds": round(seconds, 6)})

    def snapshot(self, id: str, node: str, name: str, file: str) -> None:
        """A text read on a node was stored at ``file``, relative to the evidence."""
        self.write({"type": "snapshot", "id": id, "node": node, "name": name, "file": file})

    def close(self, *, ended: str, interrupted: bool = False) -> None:
        """Write the footer and close the file; a second call does nothing."""
        if self._file.closed:
            return
        self.write({
            "type": "footer", "ended": ended, "requirements": len(self._judged), "interrupted": interrupted,
        })
        self._file.close()


def check(record: object) -> Record:
    """Give ``record`` back when it is a known record with every field; else raise EvidenceError."""
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        raise EvidenceError(f"a record is an object with a type, not {_short(record)}")
    fields = _FIELDS.get(record["type"])
    if fields is None:
        raise EvidenceError(f"no record is of type {record['type']!r}; known are {', '.join(_FIELDS)}")
    for name, types in fields.items():
        if name not in record:
            raise EvidenceError(f"a {record['type']} record needs {name}, which is missing")
        value = record[name]
        if types and not (_is(value, types) and _finite(value)):
            wanted = " or ".join(kind.__name__ for kind in types)
            raise EvidenceError(f"{name} of a {record['type']} record is {wanted}, not {_short(value)}")
    _check_inside(record)
    return record


def parse(lines: Iterable[str], *, name: str = "evidence") -> list[Record]:
    """The records of an evidence stream; raises EvidenceError naming the line, also when it was cut."""
    records: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(check(json.loads(line)))
        except json.JSONDecodeError as error:
            cut = "" if line.endswith("\n") else " (the file was cut in the middle of it)"
            raise EvidenceError(f"{name}, line {number} is no JSON{cut}: {error.msg}; run again") from error
        except EvidenceError as error:
            raise EvidenceError(f"{name}, line {number}: {error}") from error
    complete(records, name=name)
    return records


def read(path: Path) -> list[Record]:
    """The records of the file at ``path``; raises EvidenceError as ``parse`` does, or when unreadable."""
    try:
        with path.open(encoding="utf-8") as file:
            return parse(file, name=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError(f"cannot read evidence {path}: {error}; name a file that a run wrote") from error


def complete(records: Sequence[Record], *, name: str = "evidence") -> None:
    """Raise EvidenceError unless there is one header first and one footer last, of a schema known here."""
    if not records or records[0]["type"] != "header":
        raise EvidenceError(f"{name} does not begin with a header; name a file that a run wrote")
    if records[0]["schema"] != SCHEMA:
        raise EvidenceError(
            f"{name}, line 1 is of schema {records[0]['schema']}, this judge reads schema {SCHEMA}; "
            "judge it with the suite version that its header names",
        )
    kinds = [record["type"] for record in records]
    if kinds[-1] != "footer":
        raise EvidenceError(
            f"{name} ends at line {len(records)} without a footer: the run was cut, so there is no verdict; "
            "run again",
        )
    for number, kind in enumerate(kinds[1:-1], 2):
        if kind in {"header", "footer"}:
            raise EvidenceError(f"{name}, line {number} is a second {kind}; one file holds one run")


def outcomes_of(record: Record) -> list[Outcome]:
    """The attempts of a checked ``probes`` record."""
    return [Outcome.from_row(row) for row in record["outcomes"]]


def _check_inside(record: Record) -> None:
    """The parts of a record that its field types do not say."""
    if record["type"] == "header":
        for entry in record["requirements"]:
            known = isinstance(entry, dict) and all(
                isinstance(entry.get(key), str) for key in ("id", "level", "sentence")
            )
            if not known:
                raise EvidenceError(
                    f"a requirement in the header has id, level and sentence, not {_short(entry)}",
                )
    elif record["type"] == "probes":
        if len(outcomes_of(record)) != record["n"]:
            raise EvidenceError(f"n is {record['n']}, but there are {len(record['outcomes'])} outcomes")
    elif record["type"] == "expect":
        subject = [key for key in ("series", "name") if isinstance(record.get(key), str)]
        if len(subject) != 1:
            raise EvidenceError("an expect record names one series or one value (name)")


def _is(value: object, types: tuple[type, ...]) -> bool:
    """isinstance, but a bool is no number."""
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _finite(*values: object) -> bool:
    return all(not isinstance(value, float | int) or abs(value) < 1e300 for value in values)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
