"""Messages between machine, zygote and host inits: one JSON object a packet, with descriptors beside it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
MAX_MESSAGE = 160 * 1024  # below the kernel's default send buffer (208 KiB); file contents go by path instead
MAX_FDS = 16


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; each send is one message, never split or joined."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(to: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message; ValueError when it is too long, OSError when the other end is gone."""
    data = json.dumps(message).encode()
    if len(data) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(data)} bytes; at most {MAX_MESSAGE} fit: use files for contents")
    socket.send_fds(to, [data], list(fds))


def receive(source: socket.socket) -> tuple[Message | None, list[int]]:
    """The next message and its descriptors (close-on-exec); None when the other end is closed."""
    data, fds, _flags, _from = socket.recv_fds(source, MAX_MESSAGE, MAX_FDS)
    for fd in fds:
        os.set_inheritable(fd, False)
    return (json.loads(data) if data else None), fds
