"""One probe command of the judge, and how an agent's answer becomes outcomes.

A probe is sent by an agent (``agent.py``) from a vantage; each attempt ends in exactly one :class:`Outcome`,
named by what it means to a client: answered, refused, reset, timeout, unreachable, closed or error.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from conformance.evidence import Outcome

Kind = Literal["tcp", "udp", "http", "exchange", "connect", "held"]
SPARE = 15.0  # seconds a command may take beyond its own attempts before the vantage counts as gone


@dataclass(frozen=True)
class Probe:
    """``count`` attempts at ``target``, each from a fresh source port.

    With ``interval`` (seconds) they leave at fixed instants whatever becomes of earlier ones (open loop; from
    one ``source_port``: when the one before has ended); without it at most ``concurrency`` are under way.
    ``timeout`` (seconds) is one attempt's deadline, connecting included. ``held`` opens ``concurrency``
    connections and has ``count`` exchanges on each, until one fails. ``{n}`` in ``path`` is the attempt's
    number, from 0.
    """

    kind: Kind
    target: tuple[str, int]
    count: int = 1
    concurrency: int = 32
    interval: float | None = None
    timeout: float = 1.0
    payload: bytes = b""
    protocol: Literal["tcp", "udp"] = "tcp"  # of "exchange"; the other kinds say it by their name
    path: str = "/"
    host: str = ""
    source_port: int = 0
    data: bool = False  # bring HTTP bodies home

    @property
    def transport(self) -> str:
        """``tcp`` or ``udp``."""
        return "udp" if self.kind == "udp" or (self.kind == "exchange" and self.protocol == "udp") else "tcp"

    @property
    def patience(self) -> float:
        """Seconds after which no answer about this probe can come any more."""
        if self.interval is not None:
            return self.count * self.interval + self.timeout + SPARE
        rounds = -(-self.count // self.concurrency)
        return rounds * self.timeout + SPARE

    def to(self, ip: str, port: int) -> Probe:
        """The same probe at another target."""
        return replace(self, target=(ip, port))

    def command(self) -> dict[str, Any]:
        """The command as the agent takes it."""
        return {
            "kind": self.kind, "protocol": self.transport, "target": list(self.target), "count": self.count,
            "concurrency": self.concurrency, "interval": self.interval, "timeout": self.timeout,
            "payload": base64.b64encode(self.payload).decode(), "path": self.path, "host": self.host,
            "source_port": self.source_port, "data": self.data,
        }


@dataclass(frozen=True)
class Attempts:
    """What a vantage saw: the outcomes in order, and the answers' bytes where the probe brings them home."""

    outcomes: tuple[Outcome, ...]
    data: tuple[bytes, ...]  # one for each outcome, empty where nothing came


def read(answer: Mapping[str, Any], offset: float) -> Attempts:
    """Outcomes of an agent's answer; ``offset`` is what to add to its clock to get seconds since the run
    began.

    Raises ValueError when the answer is not one of this agent's.
    """
    try:
        began = float(answer["began"]) + offset
        rows = [
            Outcome(
                kind=row["outcome"], by=row["by"], peer=row["peer"], at=round(began + row["at"], 6),
                ms=round(row["ms"], 3), detail=row["detail"], source=row["source"],
            )
            for row in answer["attempts"]
        ]
        data = [base64.b64decode(row.get("data", "")) for row in answer["attempts"]]
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"not an agent's answer: {type(problem).__name__} {problem}") from problem
    return Attempts(tuple(rows), tuple(data))
