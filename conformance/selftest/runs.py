"""Small runs for the tests: records as a run writes them, without a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from conformance.evidence import SCHEMA, Outcome, Record

ANSWERED: Record = {"acceptable": {"answered": {}}}


def header(*ids: str, level: str = "core", **facts: Any) -> Record:
    """A header that selects ``ids``."""
    selected = [
        {
            "id": id,
            "level": level,
            "sentence": f"What {id} says.",
            "source": "s",
            "area": id.rpartition("-")[0],
            "needs": [],
            "features": [],
        }
        for id in ids
    ]
    return {
        "type": "header",
        "schema": SCHEMA,
        "run": "r1",
        "started": "2026-01-01T00:00:00+00:00",
        "command": "service-conformance certify --profile core",
        "cluster": "netns://?seed",
        "implementation": {"name": "proxy", "version": "1", "features": {"sctp": True}},
        **facts,
        "requirements": selected,
    }


def footer(*, interrupted: bool = False) -> Record:
    """The footer of a run."""
    return {
        "type": "footer",
        "ended": "2026-01-01T00:00:09+00:00",
        "requirements": 1,
        "interrupted": interrupted,
    }


def probes(
    outcomes: Iterable[Outcome], *, id: str = "DNS-01", series: str = "s", origin: str = "pod-a"
) -> Record:
    """One part of a series."""
    rows = [outcome.to_row() for outcome in outcomes]
    return {
        "type": "probes",
        "id": id,
        "at": 0.0,
        "series": series,
        "from": origin,
        "to": "10.43.0.10:53",
        "protocol": "tcp",
        "n": len(rows),
        "outcomes": rows,
    }


def value(seen: Any, *, id: str = "DNS-01", name: str = "v") -> Record:
    """A value that was seen."""
    return {"type": "value", "id": id, "at": 0.5, "name": name, "value": seen}


def expect(
    kind: str, params: Record, *, id: str = "DNS-01", says: str = "It is so", **subject: str
) -> Record:
    """What must be seen, in the series ``s`` when nothing else is named."""
    return {
        "type": "expect",
        "id": id,
        "at": 1.0,
        "kind": kind,
        "params": params,
        "says": says,
        **(subject or {"series": "s"}),
    }


def done(id: str = "DNS-01") -> Record:
    """The body ended."""
    return {"type": "done", "id": id, "at": 2.0, "seconds": 1.5}


def run(
    *records: Record, ids: Sequence[str] = ("DNS-01",), interrupted: bool = False, **more: Any
) -> list[Record]:
    """A whole run of ``ids``; each that is not mentioned as ended is ended here."""
    return [header(*ids, **more), *records, footer(interrupted=interrupted)]


def series(*kinds: str, by: str = "a", every: float = 0.1) -> list[Outcome]:
    """One outcome after another; a word that is no kind is the nonce of who answered."""
    made = []
    for number, word in enumerate(kinds):
        known = word in {"refused", "reset", "timeout", "unreachable", "closed", "error"}
        answered = by if word == "ok" else word
        made.append(
            Outcome(word if known else "answered", "" if known else answered, at=round(number * every, 6))
        )
    return made
