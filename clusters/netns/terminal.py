"""The caller's side of a console: run a program on a host with this process's own input and outputs."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from clusters.base import ClusterError
from clusters.netns import console, wire

_CHUNK = 65536
_OUTPUTS = 0.5  # seconds for what the program left in the terminal to be read; patience


def run(folder: Path, where: str, argv: Sequence[str]) -> int:
    """Run ``argv`` on host ``where`` of the cluster with this run folder; gives its exit status.

    On a terminal the program gets one of its own, with Ctrl-C, sizes and job control; else it gets this
    process's descriptors as they are. ClusterError is the cluster's sentence.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
        try:
            caller.connect(str(folder / console.NAME))
        except OSError as error:
            raise ClusterError(f"the cluster is gone ({error.strerror}); `service-conformance cluster list` "
                               "shows those that stand") from error
        question: wire.Message = {"where": where, "argv": list(argv)}
        if interactive():
            return _on_terminal(caller, question)
        wire.send(caller, question, [0, 1, 2])
        return _answer(caller)


def interactive() -> bool:
    """True when both input and output are a terminal."""
    return os.isatty(0) and os.isatty(1)


def _answer(caller: socket.socket) -> int:
    answer, _fds = wire.receive(caller)
    if answer is None:
        raise ClusterError("the cluster ended while the program ran in it")
    if "error" in answer:
        raise ClusterError(str(answer["error"]))
    return int(answer["status"])


def _on_terminal(caller: socket.socket, question: wire.Message) -> int:
    """Between this terminal, made raw, and one of the program's own."""
    mine, its = os.openpty()
    try:
        _copy_size(mine)
        wire.send(caller, {**question, "term": os.environ.get("TERM") or "dumb"}, [its, its, its])
        os.close(its)
        with _raw(), _resizing(lambda: _copy_size(mine)):
            _relay(caller, mine)
        return _answer(caller)
    finally:
        os.close(mine)


def _relay(caller: socket.socket, mine: int) -> None:
    """Carry bytes both ways until the program has ended and its last words are here."""
    sources = [0, mine, caller.fileno()]
    while mine in sources:
        ready = select.select(sources, [], [], None if caller.fileno() in sources else _OUTPUTS)[0]
        if not ready:
            return
        if 0 in ready and not _carry(0, mine):
            sources.remove(0)
        if mine in ready and not _carry(mine, 1):
            sources.remove(mine)
        if caller.fileno() in ready:  # the answer waits there; what the program wrote comes first
            sources.remove(caller.fileno())


def _carry(source: int, target: int) -> bool:
    """Pass one piece on; False at the end. A terminal whose other side is closed says EIO."""
    with suppress(OSError):
        data = os.read(source, _CHUNK)
        while data:
            data = data[os.write(target, data):]
            if not data:
                return True
    return False


def _copy_size(target: int) -> None:
    with suppress(OSError):
        fcntl.ioctl(target, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))


@contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _resizing(copy: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda *_: copy())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
