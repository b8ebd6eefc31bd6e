"""The host that the tests run on: what a cluster must leave as it found it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_ASKED = (
    ("ip", "-o", "link"), ("ip", "-o", "addr"), ("ip", "route"), ("ip", "netns"), ("nft", "list", "ruleset"),
    ("iptables-save",),
)


def picture() -> dict[str, str]:
    """Links, addresses, routes, named namespaces, rules and mounts; what may not be read says why."""
    seen = {}
    for argv in _ASKED:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        seen[" ".join(argv)] = "\n".join(line for line in lines if not line.startswith("#"))
    seen["mounts"] = Path("/proc/self/mountinfo").read_text()
    return seen


def of_run(run: str) -> list[int]:
    """The processes that carry the run's id in their environment."""
    mark, found = f"SERVICE_CONFORMANCE_RUN={run}".encode(), []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def called(pid: int) -> str:
    """The name the kernel has for a process; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def inner_number(pid: int) -> int:
    """Its number in the machine's PID namespace: 1 is the machine, 2 the zygote; 0 when it is gone."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        words = next(line for line in lines if line.startswith("NSpid:")).split()
        return int(words[2]) if len(words) > 2 else 0
    return 0


def until(what: Callable[[], bool], seconds: float, why: str) -> None:
    """Wait until something is so; AssertionError says ``why`` it should be."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.01)


def environment(**more: str) -> dict[str, str]:
    """For a process of the tests that is to find this package."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, **more}
