"""Reports of one run: text, JSON, JUnit and HTML, all from one model; none needs a cluster."""

from __future__ import annotations

from pathlib import Path

from conformance.report import html, json, junit, text
from conformance.report.model import Report, build, load

__all__ = ["Report", "build", "load", "write"]


def write(report: Report, folder: Path) -> list[Path]:
    """Write ``report.txt``, ``.json``, ``.html`` and ``junit.xml`` into ``folder``; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "report.txt": text.render(report), "report.json": json.render(report),
        "junit.xml": junit.render(report), "report.html": html.render(report),
    }
    for name, content in made.items():
        (folder / name).write_text(content, encoding="utf-8", errors="backslashreplace")
    return [folder / name for name in made]
