"""The interface that announces: its ARP socket, its address, its link and its counter of received frames."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from implementation.loadbalancer import arp
from implementation.loadbalancer.arp import Arp, ArpError

_SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8913, 0x8927
_UP_AND_RUNNING = 0x1 | 0x40
_AT_ONCE = 256  # frames taken before other work gets its turn


class Interface:
    """One Ethernet interface. Needs CAP_NET_RAW in its network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(arp.ETHERTYPE))
        self.socket.bind((name, arp.ETHERTYPE))
        self.socket.setblocking(False)
        self._index = socket.if_nametoindex(name)
        self.mac = self._ask(_SIOCGIFHWADDR)[18:24]

    def _ask(self, question: int) -> bytes:
        return fcntl.ioctl(self.socket.fileno(), question, struct.pack("256s", self.name.encode()[:15]))

    def link(self) -> bool:
        """Whether the interface is up and has a carrier; false when it is gone."""
        try:
            (flags,) = struct.unpack_from("h", self._ask(_SIOCGIFFLAGS), 16)
        except OSError:
            return False
        return bool(flags & _UP_AND_RUNNING == _UP_AND_RUNNING)

    def replaced(self) -> bool:
        """Whether the name now belongs to another interface, of which this socket hears nothing."""
        try:
            return socket.if_nametoindex(self.name) != self._index
        except OSError:
            return False  # gone, not replaced: it may come back

    def frames(self) -> int:
        """Frames received so far (all kinds); 0 where the kernel does not say."""
        try:
            for line in Path("/proc/self/net/dev").read_text().splitlines():
                name, colon, numbers = line.partition(":")
                if colon and name.strip() == self.name:
                    return int(numbers.split()[1])
        except (OSError, ValueError, IndexError):
            pass
        return 0

    def received(self) -> Iterator[Arp]:
        """The ARP frames that wait, none of our own; at most a few hundred, so that a flood stops nothing
        else.
        """
        for _ in range(_AT_ONCE):
            try:
                frame, where = self.socket.recvfrom(128)
            except BlockingIOError:
                return
            except OSError:
                continue  # the interface went down; the next read waits again
            if where[2] == socket.PACKET_OUTGOING:
                continue
            try:
                yield arp.parse(frame)
            except ArpError:
                continue

    def send(self, frame: Arp) -> bool:
        """Put a frame on the wire; whether the kernel took it (not while the link is down)."""
        try:
            self.socket.send(arp.build(frame))
        except OSError:
            return False
        return True
