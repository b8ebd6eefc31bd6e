"""The real kubectl for the tests of the embedded cluster: run to its end, or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 60.0  # seconds


class Kubectl:
    """kubectl with the kubeconfig of one cluster. kubectl >= 1.31 on PATH."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.program = shutil.which("kubectl")
        assert self.program, "kubectl (1.31 or later) is not on PATH: install it, these tests are about it"
        self._environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(home), "PATH": os.environ["PATH"],
                             "TERM": "dumb"}

    def __call__(self, *words: str, stdin: str = "", status: int = 0) -> str:
        """What kubectl prints, its errors after it; it must end with ``status``."""
        done = subprocess.run([str(self.program), *words], input=stdin, env=self._environment, text=True,
                              capture_output=True, timeout=_PATIENCE, check=False)
        assert done.returncode == status, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def beside(self, *words: str, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
        """kubectl on a terminal of its own, for the length of the block."""
        mine, its = os.openpty()
        terminal = Terminal(mine)
        terminal.resize(columns, lines)
        process = subprocess.Popen([str(self.program), *words], stdin=its, stdout=its, stderr=its,
                                   env=self._environment, start_new_session=True)
        terminal.process = process
        os.close(its)
        try:
            yield terminal
        finally:
            process.kill()
            process.wait()
            os.close(mine)


class Terminal:
    """The user's side of a terminal."""

    process: subprocess.Popen[bytes]

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._seen = ""

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size; who uses the terminal hears of it."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def until(self, text: str) -> str:
        """Read until ``text`` appears; gives what came before it. Each text is found once."""
        end = time.monotonic() + _PATIENCE
        while text not in self._seen:
            data = self._read(end)
            assert data, f"{text!r} never came; seen: {self._seen!r}"
            self._seen += data
        before, _, self._seen = self._seen.partition(text)
        return before

    def rest(self) -> str:
        """What comes until kubectl ends."""
        end = time.monotonic() + _PATIENCE
        while data := self._read(end):
            self._seen += data
        return self._seen

    def _read(self, end: float) -> str:
        """What comes next; nothing when kubectl has ended."""
        ready = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))[0]
        assert ready, f"nothing came in {_PATIENCE:g} s; seen before: {self._seen!r}"
        with contextlib.suppress(OSError):  # EIO: nobody has the other side any more
            return os.read(self._fd, 65536).decode(errors="replace")
        return ""
