"""``service-conformance report``: the reports of recorded evidence again, without a cluster."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from conformance.report import html, json, junit, load, text
from conformance.session import RunError


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("report", help="make any report of recorded evidence again")
    parser.add_argument("evidence", metavar="RUN.jsonl")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--html", metavar="FILE", help="write one self-contained page there")
    formats.add_argument("--json", action="store_true", help="print the document for programs")
    formats.add_argument("--junit", action="store_true", help="print JUnit XML")
    formats.add_argument("--text", action="store_true", help="print text (as when nothing is said)")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Print or write the report; 0 once it is made, whatever its verdict (that status is ``judge``'s)."""
    evidence = Path(arguments.evidence)
    report = load(evidence)
    if arguments.html:
        page = Path(arguments.html)
        base = os.path.relpath(evidence.resolve().parent, page.resolve().parent)
        _write(page, html.render(report, base=base))
        print(f"report: {page}")
    elif arguments.json or arguments.junit:
        sys.stdout.write(json.render(report) if arguments.json else junit.render(report))
    else:
        text.show(report, sys.stdout)
    return 0


def _write(page: Path, whole: str) -> None:
    """Raises RunError where the page cannot be written."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(whole, encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        said = f"{page}: {problem.strerror}; name a file that can be written, with --html"
        raise RunError(said) from problem
