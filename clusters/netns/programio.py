"""Input and outputs of a program in a pod: pipes, or a terminal of its own, read as they come."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from contextlib import suppress

Hearer = Callable[[int, bytes], None]  # descriptor (1 or 2) and what was written; empty: it is closed
_BLOCK = 64 * 1024  # bytes read at once
_END_OF_INPUT = b"\x04"  # what a terminal takes for it


class ProgramIO:
    """The machine's side of a program's descriptors. ``theirs`` are the program's, its ``numbers``."""

    def __init__(self, *, tty: bool = False, stdin: bool = False) -> None:
        self.tty, self.stdin = tty, stdin
        self.hearers: list[Hearer] = []
        self.ended = asyncio.Event()  # all outputs are closed
        self._held = 0  # how many hearers cannot take more now
        self._turn = asyncio.Lock()  # what several attached clients type stays in whole pieces
        self._input = -1
        self.numbers: tuple[int, ...] = (0, 1, 2) if tty or stdin else (1, 2)
        if tty:
            self._input, slave = os.openpty()
            self.theirs = [slave, slave, slave]
            self._outputs = {self._input: 1}
        else:
            (out, its_out), (error, its_error) = (os.pipe2(os.O_CLOEXEC) for _ in range(2))
            self.theirs, self._outputs = [its_out, its_error], {out: 1, error: 2}
            if stdin:
                its_input, self._input = os.pipe2(os.O_CLOEXEC)
                self.theirs.insert(0, its_input)
        for fd in {self._input, *self._outputs} - {-1}:
            os.set_blocking(fd, False)

    def started(self) -> None:
        """The program has its descriptors: close ours of them and read what it writes."""
        for fd in set(self.theirs):
            os.close(fd)
        self.theirs = []
        self._listen()

    def drain(self) -> None:
        """Read everything that has been written until now."""
        for fd in list(self._outputs):
            while self._read(fd):
                pass

    def hold(self) -> None:
        """Read no more until ``go_on``: a hearer has enough; the program waits when its pipe is full."""
        self._held += 1
        for fd in self._outputs:
            asyncio.get_running_loop().remove_reader(fd)

    def go_on(self) -> None:
        """The hearer that said ``hold`` can take more."""
        self._held -= 1
        self._listen()

    async def write(self, data: bytes) -> None:
        """Type ``data``, waiting while the program does not read; nothing when it reads no more."""
        async with self._turn:
            while data and self._input >= 0:
                try:
                    data = data[os.write(self._input, data):]
                except BlockingIOError:
                    await _writable(self._input)
                except OSError:
                    return

    def end_of_input(self) -> None:
        """Nothing more will be typed."""
        if self.tty:
            if self.stdin:
                with suppress(OSError):
                    os.write(self._input, _END_OF_INPUT)
        elif self._input >= 0:
            os.close(self._input)
            self._input = -1

    def resize(self, width: int, height: int) -> None:
        """Give the terminal a size, in characters; the program hears of it by SIGWINCH."""
        if self.tty and self._input >= 0:
            with suppress(OSError, struct.error):
                fcntl.ioctl(self._input, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def close(self) -> None:
        """Read what is left and give everything back."""
        self.drain()
        for fd in list(self._outputs):
            self._closed(fd)
        for fd in {*self.theirs, self._input} - {-1}:
            os.close(fd)
        self.theirs, self._input = [], -1

    def _listen(self) -> None:
        if not self._held:
            for fd in self._outputs:
                asyncio.get_running_loop().add_reader(fd, self._read, fd)

    def _read(self, fd: int) -> bool:
        """Pass on what can be read now; False when there is nothing, or nothing any more."""
        try:
            data = os.read(fd, _BLOCK)
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose other side is closed says EIO
            data = b""
        if not data:
            self._closed(fd)
            return False
        self._tell(self._outputs[fd], data)
        return True

    def _closed(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        number = self._outputs.pop(fd)
        if fd != self._input:
            os.close(fd)
        self._tell(number, b"")
        if not self._outputs:
            self.ended.set()

    def _tell(self, number: int, data: bytes) -> None:
        for hearer in list(self.hearers):
            hearer(number, data)


async def _writable(fd: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(fd)
