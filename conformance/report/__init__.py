"""Reports of one run: text, JSON and JUnit, all from one model; none needs a cluster."""

from __future__ import annotations

from pathlib import Path

from conformance.report import json, junit, text
from conformance.report.model import Report, build

__all__ = ["Report", "build", "write"]


def write(report: Report, folder: Path) -> list[Path]:
    """Write ``report.txt``, ``report.json`` and ``junit.xml`` into ``folder``; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "report.txt": text.render(report), "report.json": json.render(report),
        "junit.xml": junit.render(report),
    }
    for name, content in made.items():
        (folder / name).write_text(content, encoding="utf-8", errors="backslashreplace")
    return [folder / name for name in made]
