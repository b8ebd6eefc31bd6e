"""Short programs of this node: one way to run them, with a bound on their time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class CommandError(Exception):
    """A program is missing, took too long or failed; says which and what it said."""


def run(argv: Sequence[str], *, seconds: float = 10.0) -> str:
    """The output of ``argv``. Raises CommandError."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "PATH": PATH},
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not on PATH: install it") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CommandError(f"{' '.join(argv)}: status {done.returncode}: {said[-1] if said else 'no output'}")
    return done.stdout
