"""A container's log as CRI keeps it: each line with its time and its stream; and the part that is asked for.

A line of the file: ``2026-01-02T03:04:05.000000006Z stdout F text``. ``P`` instead of ``F``: the program
wrote no line end there. The texts of refusals: ``validateContainerLogStatus``, Kubernetes 1.36.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clusters.netns.podstatus import ContainerState

STREAMS = {1: b"stdout", 2: b"stderr"}
_LONGEST_LINE = 16 * 1024  # bytes; a longer line is kept in parts, as containerd does
_LAST_WORDS, _FROM_LOG, _LOG_LINES = 4096, 2048, 80  # bytes, bytes, lines of a termination message


def stamp(nanoseconds: int) -> str:
    """A time (nanoseconds since 1970) as RFC 3339 with all nine digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


@dataclass(frozen=True)
class Wanted:
    """Which part of a log: the last ``tail`` lines, those from the stamp ``since`` on, ``limit`` bytes."""

    tail: int | None = None
    since: str = ""
    limit: int | None = None
    timestamps: bool = False


class Selection:
    """Turns kept lines into what the reader gets, until the limit of bytes is reached."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._room = wanted.limit
        self._begun = False  # inside a line that came in parts

    @property
    def full(self) -> bool:
        """True when the reader has got all the bytes that were asked for."""
        return self._room is not None and self._room <= 0

    def text(self, line: bytes) -> bytes:
        """What the reader gets of one kept line; nothing of one that is too old, or is no kept line."""
        words = line.rstrip(b"\n").split(b" ", 3)
        if len(words) < 4 or words[0].decode(errors="replace") < self._wanted.since:
            return b""
        text = words[3] + (b"\n" if words[2] == b"F" else b"")
        if self._wanted.timestamps and not self._begun:
            text = words[0] + b" " + text
        self._begun = words[2] == b"P"
        if self._room is not None:
            text = text[: max(0, self._room)]
            self._room -= len(text)
        return text


def last(lines: Iterable[bytes], count: int | None) -> Iterator[bytes]:
    """The last ``count`` of the lines; all of them for None."""
    yield from (lines if count is None else deque(lines, maxlen=count))


def refusal(state: ContainerState | None, container: str, pod: str, *, previous: bool) -> str:
    """Why there is no log to read; empty when there is one."""
    who = f'container "{container}" in pod "{pod}"'
    if state is None:
        return f"{who} is not available"
    if previous:
        return "" if state.previous else f"previous terminated {who} not found"
    if state.waiting is None or state.previous:
        return ""
    reason = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
    return f"{who} is waiting to start: {reason.get(state.waiting[0], state.waiting[0])}"


class Log:
    """The log of one run of a container. ``readers`` are set whenever there is more, and at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        self.readers: set[asyncio.Event] = set()
        self._file = path.open("ab", buffering=0)
        self._rest = dict.fromkeys(STREAMS, b"")

    def write(self, number: int, data: bytes) -> None:
        """Keep what the program wrote to descriptor ``number`` (1 or 2); empty data: it writes no more."""
        *lines, rest = (self._rest[number] + data).split(b"\n")
        kept = [(line[at : at + _LONGEST_LINE], at + _LONGEST_LINE >= len(line))
                for line in lines for at in range(0, max(1, len(line)), _LONGEST_LINE)]
        while len(rest) > _LONGEST_LINE or (rest and not data):
            kept.append((rest[:_LONGEST_LINE], False))
            rest = rest[_LONGEST_LINE:]
        self._rest[number] = rest
        if kept:
            head = stamp(time.time_ns()).encode() + b" " + STREAMS[number]
            with suppress(OSError):  # a full disk ends the log, not the program
                self._file.write(b"".join(head + (b" F " if whole else b" P ") + text + b"\n"
                                          for text, whole in kept))
            self._wake()

    def close(self) -> None:
        """The program has ended."""
        self.closed = True
        self._file.close()
        self._wake()

    def _wake(self) -> None:
        for reader in self.readers:
            reader.set()


async def read(path: Path, wanted: Wanted, log: Log | None = None) -> AsyncIterator[bytes]:
    """What a reader gets of the log file ``path``; with ``log`` it is followed until the program ends."""
    selection, more = Selection(wanted), asyncio.Event()
    try:
        if log is not None:
            log.readers.add(more)
        with path.open("rb") as file:
            lines = last(file, wanted.tail)
            while not selection.full:
                done = log is None or log.closed
                for line in lines:
                    if text := selection.text(line):
                        yield text
                if done:
                    return
                await more.wait()
                more.clear()
                lines = iter(file.readline, b"")
    finally:
        if log is not None:
            log.readers.discard(more)


def last_words(path: Path, log: Path | None) -> str:
    """The termination message in file ``path``; where that is empty, the end of the ``log``, if given."""
    said = b""
    with suppress(OSError), path.open("rb") as file:
        said = file.read(_LAST_WORDS)
    if not said and log is not None:
        selection = Selection(Wanted())
        with suppress(OSError), log.open("rb") as file:
            said = b"".join(selection.text(line) for line in last(file, _LOG_LINES))[-_FROM_LOG:]
    return said.decode(errors="replace")
