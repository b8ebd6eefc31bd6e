"""The one way to start a short process: an argument list, a compulsory timeout, a result."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """What a finished command left: its arguments, exit status and both outputs as text."""

    argv: tuple[str, ...]
    status: int
    output: str
    error: str

    def check(self) -> Result:
        """This result, or CommandFailed when the exit status is not 0."""
        if self.status != 0:
            raise CommandFailed(self)
        return self


class CommandFailed(Exception):
    """A command ended with a status other than 0, was not found, or ran out of time."""

    def __init__(self, result: Result) -> None:
        said = (result.error or result.output).strip().splitlines()
        last = said[-1] if said else "no output"
        super().__init__(f"{' '.join(result.argv)}: status {result.status}: {last}")
        self.result = result


def run(
    argv: Sequence[str], *, timeout: float, stdin: str | None = None, env: Mapping[str, str] | None = None,
) -> Result:
    """Run ``argv`` to its end, at most ``timeout`` seconds.

    A missing program gives status 127, one that runs out of time 124, as a shell would say.
    """
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, timeout=timeout, env=env,
            check=False,
        )
    except FileNotFoundError:
        return Result(tuple(argv), 127, "", f"{argv[0]}: not found on PATH")
    except subprocess.TimeoutExpired:
        return Result(tuple(argv), 124, "", f"{argv[0]}: no end within {timeout:g} s")
    return Result(tuple(argv), done.returncode, done.stdout, done.stderr)
