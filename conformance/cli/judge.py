"""``service-conformance judge``: the verdicts of recorded evidence, again, without a cluster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from conformance.report import load, text, write


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("judge", help="judge recorded evidence again")
    parser.add_argument("evidence", metavar="RUN.jsonl")
    parser.add_argument("--write", metavar="FOLDER", help="write the reports there, too")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Print the report; gives the same exit status as the run."""
    report = load(Path(arguments.evidence))
    if arguments.write:
        write(report, Path(arguments.write))
    text.show(report, sys.stdout)
    return report.exit_code
