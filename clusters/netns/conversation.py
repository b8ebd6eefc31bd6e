"""The judge's side of the machine's control socket, and HTTP over a connection that the machine made."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clusters.base import ClusterError

Object = dict[str, Any]
_LONGEST_BODY = 64 * 1024 * 1024
_LONGEST_HEAD = 256 * 1024


async def ask(path: Path, question: Object, *, timeout: float) -> tuple[Object, int]:
    """Ask one question; gives the answer, and a descriptor or -1.

    ClusterError is the machine's own sentence, or says that it does not answer.
    """
    loop = asyncio.get_running_loop()
    line, fd = b"", -1
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.setblocking(False)
        try:
            async with asyncio.timeout(timeout):
                await _connect(control, path)
                await loop.sock_sendall(control, json.dumps(question).encode() + b"\n")
                while not line.endswith(b"\n"):
                    part, fds = await _receive(control)
                    fd = fds[0] if fds else fd
                    if not part:
                        raise ClusterError(f"the embedded cluster ended while asked to {question['op']}")
                    line += part
        except TimeoutError as error:
            raise ClusterError(f"the embedded cluster did not answer {question['op']} "
                               f"within {timeout:g} s") from error
        except OSError as error:
            raise ClusterError(f"the embedded cluster is gone ({error.strerror}); start another") from error
    answer = json.loads(line)
    if not answer.pop("ok"):
        raise ClusterError(answer["error"], log=answer.get("log") or ())
    return answer, fd


async def _connect(control: socket.socket, path: Path) -> None:
    """Connect to the control socket, waiting for room in its queue.

    asyncio's own sock_connect takes a full queue (EAGAIN) for a connection under way, which on a Unix socket
    it is not.
    """
    while True:
        try:
            control.connect(str(path))
        except BlockingIOError:
            await asyncio.sleep(0.005)
        else:
            return


async def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next bytes and descriptors, when there are some."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            data, fds, _flags, _from = socket.recv_fds(control, 1 << 20, 1)
        except BlockingIOError:
            readable = asyncio.Event()
            loop.add_reader(control, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(control)
            continue
        for fd in fds:
            os.set_inheritable(fd, False)
        return data, fds


async def http(
    connection: socket.socket, method: str, path: str, headers: Mapping[str, str], host: str,
) -> tuple[int, bytes]:
    """One HTTP/1.1 request without a body; gives status and body. ValueError: not HTTP; OSError: cut."""
    reader, writer = await asyncio.open_connection(sock=connection, limit=_LONGEST_HEAD)
    try:
        fields = {"Host": host, "Connection": "close", "Content-Length": "0", **headers}
        head = f"{method} {path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {text}\r\n" for name, text in fields.items())
        if "\r\n\r\n" in head or "\n" in path:
            raise ValueError("a header or path with a line end in it")
        writer.write(head.encode() + b"\r\n")
        await writer.drain()
        words = (await reader.readline()).split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ValueError(f"an answer that is not HTTP: {b' '.join(words)[:80]!r}")
        length: int | None = None
        while (line := await reader.readline()) not in (b"\r\n", b"\n", b""):
            name, _, text = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(text)
        if length is not None and not 0 <= length <= _LONGEST_BODY:
            raise ValueError(f"an answer of {length} bytes; at most {_LONGEST_BODY} are read")
        data = await (reader.readexactly(length) if length is not None else reader.read(_LONGEST_BODY))
        return int(words[1]), data
    finally:
        writer.close()
