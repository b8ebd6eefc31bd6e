"""The iptables programs of one family: the only place where the kernel is spoken to in this mode."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from enum import StrEnum

from implementation.dataplane import DataplaneError

RESTORE_SECONDS = (
    300.0  # 10,000 Services took iptables-nft-restore 84 s (measured); an input is never cut short
)
LIST_SECONDS = 60.0
_SYSTEM_PATH = "/usr/sbin:/sbin"


class Variant(StrEnum):
    """Which of the two kernel interfaces behind iptables is used."""

    NFT = "nft"
    LEGACY = "legacy"


class TooLong(DataplaneError):
    """One commit was more than the socket takes; without root's rights it cannot be made larger."""


class Tool:
    """iptables-save and iptables-restore for one family and variant."""

    def __init__(self, family: int, variant: Variant) -> None:
        self.family = family
        base = "ip6tables" if family == 6 else "iptables"
        self._restore = _program(f"{base}-{variant}-restore")
        self._save = _program(f"{base}-{variant}-save")
        self._list = _program(f"{base}-{variant}")

    def restore(self, text: str) -> None:
        """Put this input into effect, each table as a whole; DataplaneError when any line is refused."""
        if not text:
            return
        argv = [self._restore, "-w", "5", "-W", "100000", "--noflush", "--counters"]
        done = _run(argv, RESTORE_SECONDS, text)
        if done.returncode != 0:
            problem = f"{_last_line(argv, done)}{_context(done.stderr, text)}"
            raise TooLong(problem) if "Message too long" in done.stderr else DataplaneError(problem)

    def save(self) -> str:
        """All tables as iptables-save prints them."""
        done = _run([self._save], LIST_SECONDS)
        if done.returncode != 0:
            raise DataplaneError(_last_line([self._save], done))
        return done.stdout

    def lists(self, table: str, chain: str) -> list[str] | None:
        """The rules of one chain as ``-A`` lines; None where the chain is not there (status 1).

        Raises DataplaneError for any other status, such as 4 for a lock that somebody holds.
        """
        argv = [self._list, "-w", "5", "-t", table, "-S", chain]
        done = _run(argv, LIST_SECONDS)
        if done.returncode == 0:
            return [line for line in done.stdout.splitlines() if line.startswith("-A")]
        if done.returncode == 1:
            return None
        raise DataplaneError(_last_line(argv, done))


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")
    if path is None:
        raise DataplaneError(
            f"{name} is not on PATH: install the package iptables, or choose another --iptables-variant"
        )
    return path


def _run(argv: Sequence[str], seconds: float, text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataplaneError(f"{argv[0]} did not end within {seconds:g} s") from error
    except OSError as error:
        raise DataplaneError(f"{argv[0]} cannot be started: {error}") from error


def _last_line(argv: Sequence[str], done: subprocess.CompletedProcess[str]) -> str:
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"{' '.join(argv)} ended with status {done.returncode}: {said[0] if said else 'no output'}"


def _context(error: str, text: str) -> str:
    """The lines around the one that was refused, where the tool names it ("line N failed")."""
    named = re.search(r"line:? (\d+)", error)
    if named is None:
        return ""
    lines, at = text.splitlines(), int(named[1]) - 1
    return "; around that line: " + " | ".join(lines[max(0, at - 3) : at + 4])
