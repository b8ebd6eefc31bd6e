"""Short programs of this node: one way to run them, with a bound on their time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class CommandError(Exception):
    """A program is missing, took too long or failed; says which and what it said."""


def run(argv: Sequence[str], *, seconds: float = 10.0) -> str:
    """The output of ``argv``. Raises CommandError."""
    program = shutil.which(argv[0], path=PATH)
    if program is None:
        raise CommandError(f"{argv[0]} is not on PATH: install it")
    try:
        done = subprocess.run(
            [program, *argv[1:]], capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CommandError(f"{' '.join(argv)}: status {done.returncode}: {said[-1] if said else 'no output'}")
    return done.stdout
