"""kubectl as a person types it, in a module's own cluster.

With CLUSTER_CONTROL_PLANE=real the cluster has Kubernetes' own API server and controllers: the same tests
judge both, and a difference is a bug of ours.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clusters.locate import locate

Kubectl = Callable[..., str]


def typed(kubeconfig: str | Path, folder: Path) -> Kubectl:
    """A way to run kubectl; gives what it printed, or fails with what it complained of."""
    program = shutil.which("kubectl")
    assert program, "kubectl (1.31 or later) is not on PATH: install it, these tests are about it"

    def run(*words: str, stdin: str = "", status: int = 0) -> str:
        argv = [program, f"--kubeconfig={kubeconfig}", f"--cache-dir={folder}", *words]
        told = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == status, f"kubectl {' '.join(words)}\n{told.stdout}{told.stderr}"
        return told.stdout + (told.stderr if status else "")

    return run


@contextmanager
def cluster(url: str, folder: Path) -> Iterator[Kubectl]:
    """An embedded cluster, and kubectl for it."""
    if plane := os.environ.get("CLUSTER_CONTROL_PLANE"):
        url += f"?control-plane={plane}"
    with asyncio.Runner() as runner:
        made: Any = runner.run(locate(url))
        try:
            yield typed(made.kubeconfig, folder)
        finally:
            runner.run(made.close())


def rows(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines() if line]


def until(read: Callable[[], Any], test: Callable[[Any], Any], seconds: float = 30) -> Any:
    """Read again until ``test`` of it holds; gives what was read."""
    end = time.monotonic() + seconds
    while not test(found := read()):
        assert time.monotonic() < end, f"not within {seconds} s; last seen: {found}"
        time.sleep(0.05)
    return found


def events(kubectl: Kubectl, kind: str, name: str, space: str = "default") -> list[tuple[str, str]]:
    """Reason and message of an object's events, oldest first."""
    told = kubectl("get", "events", "-n", space, "--sort-by=.metadata.creationTimestamp", "--field-selector",
                   f"involvedObject.kind={kind},involvedObject.name={name}",
                   "-o", 'jsonpath={range .items[*]}{.reason}{"\\t"}{.message}{"\\n"}{end}')
    return [(line.split("\t")[0], line.split("\t")[1]) for line in told.splitlines()]
