"""A run from the command line: options and progress on stderr, files in a folder, the report on stdout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path

from conformance.options import Options
from conformance.report import load, text, write
from conformance.session import Plan, RunError, carry_out, prepare

LATEST = "latest"
INTERRUPTED = 2


def run_and_report(options: Options, folder: Path) -> int:
    """Run, write the reports beside the evidence, print the text; gives the exit status. Raises RunError."""
    plan = prepare(options, folder=folder, command=_command())
    print(f"{len(plan.selected)} requirements; options: {options.line()}", file=sys.stderr, flush=True)
    try:
        path = asyncio.run(_run(plan))
    except asyncio.CancelledError as problem:
        raise RunError("interrupted before the cluster stood; nothing was judged") from problem
    report = load(path)
    write(report, folder)
    _point(folder)
    text.show(report, sys.stdout)
    print(f"files: {folder}/", flush=True)
    return report.exit_code


async def _run(plan: Plan) -> Path:
    """Carry out ``plan``; the first INT or TERM cancels it, and the evidence still gets its footer."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    terminal = sys.stderr.isatty()
    show, every = (_on_terminal, 0.2) if terminal else (_on_pipe, 5.0)
    try:
        return await carry_out(plan, show=show, every=every)
    finally:
        if terminal:
            sys.stderr.write("\r\033[K")


def _on_terminal(line: str) -> None:
    width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
    sys.stderr.write(f"\r\033[K{line[:width]}")
    sys.stderr.flush()


def _on_pipe(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _command() -> str:
    """The command as it can be given again."""
    return shlex.join(["service-conformance", *sys.argv[1:]])


def _point(folder: Path) -> None:
    """Let ``latest`` beside ``folder`` point to it; a folder that forbids links goes without."""
    link = folder.parent / LATEST
    with contextlib.suppress(OSError):
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
