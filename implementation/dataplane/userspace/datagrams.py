"""A UDP door: each client has a session, which is a connected socket to its endpoint, until it is idle."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Collection
from typing import NamedTuple

from implementation.dataplane.userspace.listener import EXHAUSTED, bound, outgoing
from implementation.dataplane.userspace.pump import READ, Pump
from implementation.dataplane.userspace.turns import Turns
from implementation.state.desired import Endpoint

log = logging.getLogger("kube-proxy.userspace")
UNANSWERED_SECONDS, IDLE_SECONDS = 30.0, 120.0  # the kernel's own limits for tracked UDP flows
LARGEST, BATCH = 65_535, 64
IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
_info4, _info6 = struct.Struct("=i4s4s"), struct.Struct("=16si")


class Client(NamedTuple):
    """Who sent, and to which of our addresses: the answer must come from there."""

    peer: tuple[str, int]
    to: bytes


class Datagrams:
    """One door for UDP. Made and used in the pump's thread only."""

    def __init__(self, pump: Pump, family: int, turns: Turns, mark: int) -> None:
        self.pump, self.family, self.turns, self.mark = pump, family, turns, mark
        self._level, self._info = (
            (socket.IPPROTO_IPV6, IPV6_PKTINFO) if family == 6 else (socket.IPPROTO_IP, IP_PKTINFO)
        )
        self._socket = bound(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(self._level, IPV6_RECVPKTINFO if family == 6 else IP_PKTINFO, 1)
        self.port: int = self._socket.getsockname()[1]
        self._sessions: dict[Client, _Session] = {}
        pump.watch(self._socket.fileno(), READ, lambda _events: self._receive())

    def __len__(self) -> int:
        return len(self._sessions)

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                data, extra, _flags, peer = self._socket.recvmsg(LARGEST, 128)
            except OSError:  # nothing more, or the echo of an answer that nobody wanted
                return
            client = Client(peer[:2], self._asked(extra))
            session = self._sessions.get(client) or self._begin(client)
            if session is not None:
                session.send(data)

    def _asked(self, extra: list[tuple[int, int, bytes]]) -> bytes:
        """The address of ours the datagram was sent to."""
        for level, kind, data in extra:
            if (level, kind) == (self._level, self._info):
                return data[:16] if self.family == 6 else data[8:12]
        return bytes(16 if self.family == 6 else 4)

    def _begin(self, client: Client) -> _Session | None:
        endpoint = self.turns.take(client.peer[0], time.monotonic())
        if endpoint is None:
            return None
        try:
            self._sessions[client] = _Session(self, client, endpoint)
        except OSError as error:
            if error.errno in EXHAUSTED:
                log.warning("a datagram is lost: %s", error.strerror)
            return None
        return self._sessions[client]

    def answer(self, client: Client, data: bytes) -> None:
        """Send to the client, from the address it asked."""
        whole = _info6.pack(client.to, 0) if self.family == 6 else _info4.pack(0, client.to, bytes(4))
        try:
            self._socket.sendmsg([data], [(self._level, self._info, whole)], 0, client.peer)
        except OSError as error:
            log.debug("an answer is lost: %s", error)

    def ended(self, client: Client) -> None:
        """The client's session is over."""
        self._sessions.pop(client, None)

    def leave(self, serving: Collection[str]) -> None:
        """End sessions with endpoints ("ip:port") that do not serve any more: their clients get another at
        once."""
        for session in list(self._sessions.values()):
            if session.endpoint.target not in serving:
                session.close()

    def close(self, *, cut: bool = False) -> None:
        """End everything: sessions cannot outlive their door, ``cut`` or not."""
        del cut
        for session in list(self._sessions.values()):
            session.close()
        self.pump.forget(self._socket.fileno())
        self._socket.close()


class _Session:
    """One client and its endpoint."""

    def __init__(self, door: Datagrams, client: Client, endpoint: Endpoint) -> None:
        self.endpoint, self._door, self._client = endpoint, door, client
        self._limit, self._heard = UNANSWERED_SECONDS, time.monotonic()
        self._socket = outgoing(door.family, socket.SOCK_DGRAM, door.mark)
        try:
            self._socket.connect((endpoint.address, endpoint.port))
        except OSError:
            self._socket.close()
            raise
        door.pump.watch(self._socket.fileno(), READ, lambda _events: self._receive())
        self._timer = door.pump.later(self._limit, self._look)

    def send(self, data: bytes) -> None:
        """Pass a datagram on. An endpoint that refuses ends the session, so that the next one goes
        elsewhere."""
        self._heard = time.monotonic()
        try:
            self._socket.send(data)
        except BlockingIOError:
            pass  # a full buffer loses datagrams, as a full queue in the network does
        except OSError:
            self.close()

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                data = self._socket.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self._limit, self._heard = IDLE_SECONDS, time.monotonic()
            self._door.answer(self._client, data)

    def _look(self) -> None:
        """End the session if it was idle for its limit."""
        left = self._heard + self._limit - time.monotonic()
        if left <= 0:
            self.close()
        else:
            self._timer = self._door.pump.later(left, self._look)

    def close(self) -> None:
        """Forget the client."""
        self._timer.cancelled = True
        self._door.pump.forget(self._socket.fileno())
        self._socket.close()
        self._door.ended(self._client)
