"""Load on a Service while something happens to its proxy: new connections at a fixed rate whatever becomes of
those before (open loop), and UDP clients that keep their port. Runs in a process of its own.

As many connections go past the Service, straight to a pod: where one of those is lost as well it was the
machine, which had no processor to spare for packets.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import select
import socket
import struct
import time
import traceback
from pathlib import Path
from typing import Any

from implementation.tests.lab import netns

RATE = 200  # new connections a second
PATIENCE = 3.0  # seconds after which a connection counts as lost
CONTROL = ("10.42.0.2", 8080)  # a pod, without any Service
RETRANSMIT = 0.9  # seconds, somewhat less than it takes until a first packet without an answer is sent again
# A port is taken again when the kernel has long forgotten what became of it: a first packet that was lost
# while rules were away is remembered for two minutes, and the next one of that port goes the way it went.
PORTS = range(10_000, 65_536)
NEAR = 2.0  # seconds within which a loss of the machine's explains another: a SYN comes again after one
_RETRANSMITS = struct.Struct("=100xI")  # tcpi_total_retrans of struct tcp_info


class Load:
    """Starts at once; :meth:`end` gives what was seen."""

    def __init__(self, host: str, port: int, udp: tuple[str, int] | None = None, clients: int = 8) -> None:
        self._stop, stop = os.pipe()[::-1]
        reading, writing = os.pipe()
        self._child = os.fork()
        if not self._child:
            every = {int(one.name) for one in Path("/proc/self/fd").iterdir()}
            for number in every - {0, 1, 2, stop, writing}:
                with contextlib.suppress(OSError):
                    os.close(number)  # the parent's sockets are not to live as long as this
            try:
                with netns("outside"), os.fdopen(writing, "w") as file:
                    json.dump(_run(stop, host, port, udp, clients), file)
            except BaseException:
                traceback.print_exc()
                os._exit(1)  # what called stands in this process, too, and must not go on
            os._exit(0)
        os.close(writing)
        os.close(stop)
        self._found = reading

    def end(self) -> dict[str, Any]:
        """``tried``: how many connections; ``lost``: when those began that failed or whose first packet was
        lost (monotonic seconds), and how; ``machine``: how many more, which the machine itself explains;
        ``moved``: UDP clients that were answered by more than one."""
        os.close(self._stop)
        with os.fdopen(self._found) as file:
            text = file.read()
        os.waitpid(self._child, 0)
        return dict(json.loads(text))


class _Connections:
    """Connections that are open, and what became of the others."""

    def __init__(self) -> None:
        self.poll, self.lost = (
            select.epoll(),
            {False: list[tuple[float, str]](), True: list[tuple[float, str]]()},
        )
        self.open: dict[int, tuple[socket.socket, float, bool]] = {}
        first = int(time.monotonic() * 2 * RATE)  # beyond those of a load that ended before this one began
        self.ports = (PORTS[number % len(PORTS)] for number in itertools.count(first))

    def begin(self, to: tuple[str, int], *, control: bool) -> None:
        """Open one more."""
        made, at = socket.socket(), time.monotonic()
        made.setblocking(False)
        for port in self.ports:
            try:
                made.bind(("", port))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # no other port would do either
                    raise
        number = made.connect_ex(to)
        if number in (0, errno.EINPROGRESS):
            self.open[made.fileno()] = (made, at, control)
            self.poll.register(made, select.EPOLLIN)
        else:
            self.lost[control].append((at, os.strerror(number)))
            made.close()

    def done(self, number: int) -> None:
        """This one has something to say."""
        made, at, control = self.open.pop(number)
        seconds = time.monotonic() - at
        if problem := _problem(made, seconds):
            self.lost[control].append((at, f"{problem}, {seconds:.3f} s after it began"))

    def give_up(self) -> None:
        """Close those that had no answer for too long."""
        now = time.monotonic()
        for number, (made, at, control) in list(self.open.items()):
            if now - at > PATIENCE:
                self.lost[control].append((at, f"no answer in {PATIENCE} s"))
                made.close()
                del self.open[number]

    def unexplained(self) -> list[tuple[float, str]]:
        """The losses near which the control lost nothing."""
        return [one for one in self.lost[False] if all(abs(one[0] - at) > NEAR for at, _ in self.lost[True])]


def _run(stop: int, host: str, port: int, udp: tuple[str, int] | None, clients: int) -> dict[str, Any]:
    every, began, tried, ending = _Connections(), time.monotonic(), 0, False
    every.poll.register(stop, select.EPOLLIN | select.EPOLLHUP)
    flows = [_client(*udp) for _ in range(clients)] if udp else []
    answered: list[set[str]] = [set() for _ in flows]
    while not ending or every.open:
        while not ending and began + tried / RATE <= time.monotonic():
            every.begin((host, port), control=False)
            every.begin(CONTROL, control=True)
            if flows:
                _exchange(flows[tried % len(flows)], answered[tried % len(flows)])
            tried += 1
        for number, _event in every.poll.poll(0.002):
            if number == stop:
                ending = True
                every.poll.unregister(stop)
            else:
                every.done(number)
        every.give_up()
    lost = every.unexplained()
    moved = sum(len(some) > 1 for some in answered)
    return {"tried": tried, "lost": lost, "machine": len(every.lost[False]) - len(lost), "moved": moved}


def _problem(made: socket.socket, seconds: float) -> str:
    """Empty when it was answered and no packet was lost, else what happened. A first packet that goes twice
    within less than a second was not: it met a port whose last connection the other end still remembered."""
    with made:
        try:
            data = made.recv(100)
            again = _RETRANSMITS.unpack(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))[0]
        except OSError as error:
            return os.strerror(error.errno or 0)
        lost = again and seconds > RETRANSMIT
        return "a packet was lost" if lost else "" if data else "closed without an answer"


def _client(host: str, port: int) -> socket.socket:
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.connect((host, port))
    made.setblocking(False)
    return made


def _exchange(made: socket.socket, answered: set[str]) -> None:
    """Note who answered since the last time, and ask again."""
    with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
        while data := made.recv(100):
            answered.add(data.decode().split()[0])
    with contextlib.suppress(ConnectionRefusedError):
        made.send(b"?")
