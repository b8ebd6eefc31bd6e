"""The proxy with faults put in from outside, for tests of what it does about them: ``main`` is started in the
place of ``implementation.cli``. The environment says which:

FAULT_COMMITS   so many of a thousand transactions are refused, by a dice of this process
FAULT_SNDBUF    the size of the socket's buffer it asks the kernel for
FAULT_CLOCK     every look at the wall clock gives a time up to so many seconds away
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Sequence

from implementation import cli
from implementation.dataplane.nftables.kernel import Kernel, Refused


def refuse(thousandth: int) -> None:
    """Refuse some transactions."""
    commit, dice = Kernel.commit, random.Random(os.getpid())

    def picky(self: Kernel, every: Sequence[bytes]) -> None:
        if every and dice.randrange(1000) < thousandth:
            raise Refused(errno.ENOBUFS, dice.randrange(len(every)), " at a test's wish")
        commit(self, every)

    Kernel.commit = picky  # type: ignore[method-assign]


def squeeze(size: int) -> None:
    """Ask for a small buffer."""
    make = Kernel.__init__

    def small(self: Kernel, buffer: int = size) -> None:
        make(self, buffer)

    Kernel.__init__ = small  # type: ignore[method-assign]


def jump(seconds: int) -> None:
    """Have the wall clock jump at every look."""
    clock, dice = time.time, random.Random(seconds)
    time.time = lambda: max(0.0, clock() + dice.uniform(-seconds, seconds))


def main(args: list[str] | None = None) -> int:
    """The proxy's command with the faults that the environment names."""
    for name, fault in (("COMMITS", refuse), ("SNDBUF", squeeze), ("CLOCK", jump)):
        if found := os.environ.get(f"FAULT_{name}"):
            fault(int(found))
    return cli.main(args)
