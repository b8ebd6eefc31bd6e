"""The report for programs: one versioned document, described by ``schema.json``."""

from __future__ import annotations

import json
from typing import Any

from conformance.report.model import Report, Row

SCHEMA = 1
KIND = "service-conformance-report"


def document(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    facts = {key: value for key, value in report.facts.items() if key != "schema"}
    return {
        "kind": KIND, "schema": SCHEMA, **facts, "ended": report.ended,
        "implementation": dict(report.implementation),
        "overall": report.overall.value, "exit_code": report.exit_code,
        "interrupted": report.judgement.interrupted, "counts": report.counts, "rerun": report.rerun(),
        "requirements": [_requirement(row) for row in report.rows],
        "not_in_this_run": dict(report.missing),
    }


def render(report: Report) -> str:
    """The document as text, keys in a fixed order."""
    return json.dumps(document(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _requirement(row: Row) -> dict[str, Any]:
    return {
        "id": row.id, "area": row.area, "level": row.level, "sentence": row.sentence, "source": row.source,
        "verdict": row.verdict.value, "reason": row.reason, "numbers": dict(row.numbers),
        "checks": [dict(check) for check in row.checks],
        "findings": [
            {**{name.replace(" ", "_"): value for name, value in finding.lines()}, "last": list(finding.last)}
            for finding in row.findings
        ],
    }
