"""The data plane: one folder a mode, all behind one interface."""

from __future__ import annotations

from typing import Protocol

import msgspec

from implementation.state.desired import Desired, ServiceKey


class DataplaneError(Exception):
    """The kernel or a tool refused; the message says which, what it said and what to do. Nothing is half known:
    after it the next :meth:`Dataplane.apply` writes everything."""


class Applied(msgspec.Struct, frozen=True):
    """What one apply did. ``rules`` were written, ``total`` are in force; ``services`` differ from the last time."""

    full: bool
    rules: int
    total: int
    services: tuple[ServiceKey, ...] = ()


class Dataplane(Protocol):
    """One mode of serving."""

    def apply(self, desired: Desired) -> Applied:
        """Make this node serve exactly ``desired``. Blocks; raises DataplaneError, and may simply be called again."""
        ...

    def forget(self) -> None:
        """Trust nothing that was written before: the next apply writes everything."""
        ...

    def intact(self) -> bool:
        """False when somebody else removed what was written."""
        ...

    def cleanup(self) -> None:
        """Take everything of ours out of the kernel; what is not there is no error."""
        ...
