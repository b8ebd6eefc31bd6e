"""A TCP door: accepts, finds an endpoint that takes the connection, and has the pump move the bytes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Callable

from implementation.dataplane.userspace.pump import READ, WRITE, Pair, Pump, Timer, reset
from implementation.dataplane.userspace.turns import Turns
from implementation.state.desired import Endpoint

log = logging.getLogger("kube-proxy.userspace")
DIAL_SECONDS = (
    0.25,
    0.5,
    1.0,
    2.0,
)  # how long each endpoint may take to accept, one after another (upstream's)
BACKLOG, ACCEPTS, PAUSE_SECONDS = 4096, 64, 0.1
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def family_of(number: int) -> socket.AddressFamily:
    """AF_INET for 4, AF_INET6 for 6."""
    return socket.AF_INET6 if number == 6 else socket.AF_INET


def bound(number: int, kind: socket.SocketKind) -> socket.socket:
    """A non-blocking socket on every address of a family (4 or 6), on a port the kernel chooses. Raises
    OSError."""
    made = socket.socket(family_of(number), kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if number == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", 0))
    except OSError:
        made.close()
        raise
    return made


def outgoing(number: int, kind: socket.SocketKind, mark: int) -> socket.socket:
    """A non-blocking socket to an endpoint. Its mark keeps it out of our own redirecting rules: an endpoint
    may well have the address and port of a Service. Raises OSError."""
    made = socket.socket(family_of(number), kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError:
        made.close()
        raise
    return made


class Listener:
    """One door for TCP. Made and used in the pump's thread only."""

    def __init__(self, pump: Pump, family: int, turns: Turns, mark: int) -> None:
        self.pump, self.family, self.turns, self.mark = pump, family, turns, mark
        self._socket = bound(family, socket.SOCK_STREAM)
        self._socket.listen(BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._open: set[Callable[[], None]] = set()
        pump.watch(self._socket.fileno(), READ, lambda _events: self._accept())

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                client, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(error)
                return
            client.setblocking(False)
            _Dial(self, client, peer[0]).next()

    def _pause(self, error: OSError) -> None:
        """Leave clients in the backlog for a moment rather than spin on what cannot be accepted."""
        log.warning("new connections wait: %s", error.strerror)
        descriptor = self._socket.fileno()
        self.pump.forget(descriptor)

        def resume() -> None:
            if self._socket.fileno() == descriptor:
                self.pump.watch(descriptor, READ, lambda _events: self._accept())

        self.pump.later(PAUSE_SECONDS, resume)

    def join(self, client: socket.socket, backend: socket.socket) -> None:
        """Let the two talk."""

        def cut() -> None:
            pair.close(abruptly=True)

        self._open.add(cut)
        pair = Pair(self.pump, client, backend, lambda: self._open.discard(cut))

    def close(self, *, cut: bool = False) -> None:
        """Accept nothing more. Connections that are established go on, unless they are ``cut``."""
        self.pump.forget(self._socket.fileno())
        self._socket.close()
        for end in list(self._open) if cut else ():
            end()


class _Dial:
    """The search for an endpoint that takes one client's connection."""

    def __init__(self, listener: Listener, client: socket.socket, peer: str) -> None:
        self._listener, self._client, self._peer = listener, client, peer
        self._failed: list[Endpoint] = []
        self._endpoint: Endpoint | None = None
        self._backend: socket.socket | None = None
        self._timer: Timer | None = None

    def next(self) -> None:
        """Try the next endpoint; a client that none will have is told by a reset."""
        if self._endpoint is not None:
            self._failed.append(self._endpoint)
        tried = len(self._failed)
        self._endpoint = None
        if tried < len(DIAL_SECONDS):
            self._endpoint = self._listener.turns.take(self._peer, time.monotonic(), self._failed)
        if self._endpoint is None:
            reset(self._client)
            return
        try:
            self._start(self._endpoint, DIAL_SECONDS[tried])
        except OSError as error:
            self._drop_backend()
            if error.errno in EXHAUSTED:
                log.warning("a connection is refused: %s", error.strerror)
                reset(self._client)
            else:
                self.next()

    def _start(self, endpoint: Endpoint, seconds: float) -> None:
        pump = self._listener.pump
        self._backend = outgoing(self._listener.family, socket.SOCK_STREAM, self._listener.mark)
        status = self._backend.connect_ex((endpoint.address, endpoint.port))
        if status not in (0, errno.EINPROGRESS):
            raise OSError(status, os.strerror(status))
        pump.watch(self._backend.fileno(), WRITE, lambda _events: self._connected())
        self._timer = pump.later(seconds, self._too_late)

    def _connected(self) -> None:
        assert self._backend is not None
        if self._backend.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._drop_backend()
            self.next()
            return
        self._stop_waiting()
        self._listener.join(self._client, self._backend)

    def _too_late(self) -> None:
        self._drop_backend()
        self.next()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancelled = True
        if self._backend is not None:
            self._listener.pump.forget(self._backend.fileno())

    def _drop_backend(self) -> None:
        self._stop_waiting()
        if self._backend is not None:
            with contextlib.suppress(OSError):
                self._backend.close()
            self._backend = None
