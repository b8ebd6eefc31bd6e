"""Load on a Service while something happens to its proxy: new connections at a fixed rate whatever becomes of
those before (open loop), and UDP clients that keep their port. Runs in a process of its own."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import time
from pathlib import Path
from typing import Any

from implementation.tests.lab import netns

RATE = 200  # new connections a second
PATIENCE = 3.0  # seconds after which a connection counts as lost
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
            with netns("outside"), os.fdopen(writing, "w") as file:
                json.dump(_run(stop, host, port, udp, clients), file)
            os._exit(0)
        os.close(writing)
        os.close(stop)
        self._found = reading

    def end(self) -> dict[str, Any]:
        """``tried``: how many connections; ``lost``: when those began that failed or whose first packet was
        lost (monotonic seconds), and how; ``moved``: UDP clients that were answered by more than one."""
        os.close(self._stop)
        with os.fdopen(self._found) as file:
            text = file.read()
        os.waitpid(self._child, 0)
        return dict(json.loads(text))


def _run(stop: int, host: str, port: int, udp: tuple[str, int] | None, clients: int) -> dict[str, Any]:
    poll, began, open_, lost, tried = select.epoll(), time.monotonic(), {}, list[tuple[float, str]](), 0
    poll.register(stop, select.EPOLLIN | select.EPOLLHUP)
    flows = [_client(*udp) for _ in range(clients)] if udp else []
    answered: list[set[str]] = [set() for _ in flows]
    ending = False
    while not ending or open_:
        now = time.monotonic()
        while not ending and began + tried / RATE <= now:
            made, at = socket.socket(), now
            made.setblocking(False)
            problem = made.connect_ex((host, port))
            if problem not in (0, errno.EINPROGRESS):
                lost.append((at, os.strerror(problem)))
                made.close()
            else:
                open_[made.fileno()] = (made, at)
                poll.register(made, select.EPOLLIN)
            if flows:
                _exchange(flows[tried % len(flows)], answered[tried % len(flows)])
            tried += 1
        for number, _event in poll.poll(0.002):
            if number == stop:
                ending = True
                poll.unregister(stop)
            else:
                made, at = open_.pop(number)
                if problem := _problem(made):
                    lost.append((at, f"{problem} after {now - at:.3f} s"))
        for number, (made, at) in list(open_.items()):
            if now - at > PATIENCE:
                lost.append((at, f"no answer in {PATIENCE} s"))
                made.close()
                del open_[number]
    return {"tried": tried, "lost": lost, "moved": sum(len(some) > 1 for some in answered)}


def _problem(made: socket.socket) -> str:
    """Empty when it was answered and no packet had to be sent twice, else what happened."""
    with made:
        try:
            data = made.recv(100)
            again = _RETRANSMITS.unpack(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))[0]
        except OSError as error:
            return os.strerror(error.errno or 0)
        return "a packet was lost" if again else "" if data else "closed without an answer"


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
