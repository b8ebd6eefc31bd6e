"""One thread that waits on all sockets of this mode, and moves bytes between two of them without copying.

Bytes go from socket to pipe to socket inside the kernel (splice). A pipe is taken only while bytes are under
way,
so an idle connection costs two descriptors. While the receiver does not read, the sender is not read from.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
Handler = Callable[[int], None]
log = logging.getLogger("kube-proxy.userspace")

READ, WRITE, BROKEN = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
CHUNK, ROUNDS, SPARE_PIPES = 1 << 16, 16, 64
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class Timer:
    """Something to do later; ``cancelled`` makes it nothing."""

    def __init__(self, job: Callable[[], None]) -> None:
        self.job, self.cancelled = job, False


class Pump:
    """The thread. Everything but :meth:`call` is for handlers that run in it."""

    def __init__(self) -> None:
        self._epoll, self._wake = select.epoll(), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._pipes: list[tuple[int, int]] = []
        self._count, self._running = 0, True
        self.watch(self._wake, READ, lambda _events: self._answer_calls())
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)
        self._thread.start()

    def call(self, job: Callable[[], T]) -> T:
        """Run ``job`` in the thread and give what it gives; its exceptions are raised here."""
        done: Future[T] = Future()

        def answer() -> None:
            try:
                done.set_result(job())
            except BaseException as error:
                done.set_exception(error)

        self._calls.append(answer)
        os.eventfd_write(self._wake, 1)
        return done.result()

    def close(self) -> None:
        """End the thread. Sockets are their owners' to close before."""
        self.call(lambda: setattr(self, "_running", False))
        self._thread.join()
        for pipe in self._pipes:
            close_pipe(pipe)
        self._epoll.close()
        os.close(self._wake)

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call ``handler`` whenever one of ``events``, or an error, is there."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, events)

    def change(self, descriptor: int, events: int) -> None:
        """Wait for these events from now on."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Wait no longer; what is not waited for is no error."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def later(self, seconds: float, job: Callable[[], None]) -> Timer:
        """Call ``job`` in so many seconds, unless the timer is cancelled."""
        timer = Timer(job)
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, timer))
        return timer

    def pipe(self) -> tuple[int, int]:
        """An empty pipe. Raises OSError where no descriptor is left."""
        return self._pipes.pop() if self._pipes else os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def give_back(self, pipe: tuple[int, int]) -> None:
        """Return an empty pipe."""
        if len(self._pipes) < SPARE_PIPES:
            self._pipes.append(pipe)
        else:
            close_pipe(pipe)

    def _run(self) -> None:
        while self._running:
            found = self._epoll.poll(self._until_timer())
            for descriptor, events, handler in [(n, events, self._handlers.get(n)) for n, events in found]:
                # One handler may close the socket of a later event, and open another with its number.
                if handler is not None and self._handlers.get(descriptor) is handler:
                    _guarded(lambda handler=handler, events=events: handler(events))  # type: ignore[misc]
            while self._timers and self._timers[0][0] <= time.monotonic():
                timer = heapq.heappop(self._timers)[2]
                if not timer.cancelled:
                    _guarded(timer.job)

    def _until_timer(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _answer_calls(self) -> None:
        os.eventfd_read(self._wake)
        while self._calls:
            self._calls.popleft()()


def _guarded(job: Callable[[], None]) -> None:
    """Run a handler; a fault in one connection must not end all others."""
    try:
        job()
    except Exception:
        log.exception("a connection could not be served")


def close_pipe(pipe: tuple[int, int]) -> None:
    """Close both ends."""
    for end in pipe:
        os.close(end)


def reset(made: socket.socket) -> None:
    """Close a TCP connection by a reset, so that its other end knows that something went wrong."""
    with contextlib.suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    made.close()


class Stream:
    """One direction of a connection."""

    def __init__(self, pump: Pump, source: socket.socket, sink: socket.socket) -> None:
        self._pump, self._source, self._sink = pump, source, sink
        self._pipe: tuple[int, int] | None = None
        self.held = 0  # bytes in the pipe
        self.ended = False  # the source will send no more, and the sink was told so

    def advance(self) -> None:
        """Move what can be moved now, within reason. Raises OSError where an end is broken."""
        for _ in range(ROUNDS):
            if self.ended or not (self._out() if self.held else self._in()):
                return

    def _in(self) -> bool:
        if self._pipe is None:
            self._pipe = self._pump.pipe()
        try:
            got = os.splice(self._source.fileno(), self._pipe[1], CHUNK, flags=_SPLICE)
        except BlockingIOError:
            self._return_pipe()
            return False
        self.held = got
        if got == 0:
            self._shut()  # at once: with rounds used up just here, no event would come to do it later
        return got > 0

    def _out(self) -> bool:
        assert self._pipe is not None
        try:
            self.held -= os.splice(self._pipe[0], self._sink.fileno(), self.held, flags=_SPLICE)
        except BlockingIOError:
            return False
        return True

    def _shut(self) -> None:
        """Half-close: the other direction goes on."""
        self._return_pipe()
        self.ended = True
        with contextlib.suppress(OSError):  # it is gone already: the other direction will tell
            self._sink.shutdown(socket.SHUT_WR)

    def _return_pipe(self) -> None:
        if self._pipe is not None:
            self._pump.give_back(self._pipe)
            self._pipe = None

    def drop(self) -> None:
        """Lose what is under way."""
        if self._pipe is not None:
            close_pipe(self._pipe)
            self._pipe = None


class Pair:
    """Two connected TCP sockets, each of which gets what the other sends."""

    def __init__(
        self, pump: Pump, client: socket.socket, backend: socket.socket, ended: Callable[[], None]
    ) -> None:
        self._pump, self._ended = pump, ended
        self._sockets = (client, backend)
        self._streams = (Stream(pump, client, backend), Stream(pump, backend, client))
        self._waiting = [READ, READ]
        for which, made in enumerate(self._sockets):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pump.watch(made.fileno(), READ, lambda events, which=which: self._ready(which, events))  # type: ignore[misc]

    def _ready(self, which: int, events: int) -> None:
        try:
            if events & BROKEN:
                self._look_at(self._sockets[which])
            for stream in self._streams:
                stream.advance()
            if all(stream.ended for stream in self._streams):
                self.close()
            else:
                self._wait()
        except OSError:
            self.close(abruptly=True)

    def _look_at(self, made: socket.socket) -> None:
        """A socket that broke ends both; one that hung up with something still to be read goes on."""
        error = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def _wait(self) -> None:
        """Wait for what can make progress: reading while nothing is held, writing while something is."""
        for which, made in enumerate(self._sockets):
            reads, writes = self._streams[which], self._streams[1 - which]
            wanted = (0 if reads.held or reads.ended else READ) | (WRITE if writes.held else 0)
            wanted = wanted or select.EPOLLET  # errors only, each told once: a hang-up would be told for ever
            if wanted != self._waiting[which]:
                self._waiting[which] = wanted
                self._pump.change(made.fileno(), wanted)

    def close(self, *, abruptly: bool = False) -> None:
        """End both, by a reset where something went wrong."""
        for made in self._sockets:
            self._pump.forget(made.fileno())
            if abruptly:
                reset(made)
            else:
                made.close()
        for stream in self._streams:
            stream.drop()
        self._ended()
