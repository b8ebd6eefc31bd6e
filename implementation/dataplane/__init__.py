"""The data plane: one folder a mode, all behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec

from implementation.state.desired import Desired, ServedService, ServiceKey

Where = tuple[str, int]  # address and port that clients send to; an empty address is any of this node's


class DataplaneError(Exception):
    """The kernel or a tool refused; the message says which, what it said and what to do. Nothing is half
    known: after it the next :meth:`Dataplane.apply` writes everything."""


class Part(msgspec.Struct, frozen=True):
    """What one apply did in one family: in ``tables``, rules in force and rules written by table."""

    family: int
    full: bool
    seconds: float
    tables: dict[str, tuple[int, int]]


class Applied(msgspec.Struct, frozen=True):
    """What one apply did; ``services`` are those that differ from the last time."""

    parts: tuple[Part, ...]
    services: tuple[ServiceKey, ...] = ()

    @property
    def full(self) -> bool:
        """True when everything was written in some family."""
        return any(part.full for part in self.parts)

    @property
    def total(self) -> int:
        """Rules in force."""
        return sum(total for part in self.parts for total, _ in part.tables.values())

    @property
    def written(self) -> int:
        """Rules written by this apply."""
        return sum(written for part in self.parts for _, written in part.tables.values())


class Dataplane(Protocol):
    """One mode of serving."""

    def apply(self, desired: Desired) -> Applied:
        """Make this node serve exactly ``desired``. Blocks; raises DataplaneError, and may simply be called
        again."""
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


@runtime_checkable
class Noticing(Protocol):
    """A data plane that hears when somebody changes the kernel's tables, so that nobody has to look."""

    def fileno(self) -> int:
        """A descriptor that becomes readable then; :meth:`Dataplane.intact` reads it, and never blocks."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A data plane that can do a part of its first apply while not everything is known yet."""

    def prepare(self, services: Mapping[ServiceKey, ServedService]) -> None:
        """Some Services, as they will be in the first apply unless they change. Raises DataplaneError."""
        ...


@runtime_checkable
class Answering(Protocol):
    """A data plane whose own sockets answer clients of UDP Services, in the place of endpoints."""

    def answering(self) -> Mapping[int, Mapping[Where, frozenset[str]]]:
        """By family, where clients may send to (an empty address is any of this node's), and which of our
        ports, as ":port", must answer there."""
        ...


@runtime_checkable
class Inheriting(Protocol):
    """A data plane that can tell what a predecessor left in the kernel. Both raise DataplaneError."""

    def left(self) -> bool:
        """True when rules of this mode are there."""
        ...

    def inherited(self) -> Mapping[int, frozenset[Where]]:
        """By family, where UDP clients could send to before the first apply (now, where there was none):
        their flows outlive Services that were deleted while no proxy ran."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A data plane that has more to end than its rules, which stay."""

    def close(self) -> None:
        """End what belongs to this process. Blocks."""
        ...
