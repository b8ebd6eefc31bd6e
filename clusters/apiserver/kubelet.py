"""The way from the API server to the kubelet of its cluster: one Unix socket, one connection a request.

The protocol, both sides of it (the kubelet listens at ``--kubelet-socket``):

1. The API server writes one line of JSON. Always: ``op``, ``namespace``, ``pod``, ``container``. By ``op``:

   - ``logs``: ``follow``, ``previous``, ``timestamps`` (booleans), ``tail`` (lines or null), ``since``
     (seconds before now, or null), ``limit`` (bytes or null);
   - ``exec``: ``command`` (list of texts), ``stdin``, ``stdout``, ``stderr``, ``tty`` (booleans);
   - ``attach``: as ``exec`` without ``command``;
   - ``portforward``: ``port``; the ``container`` is empty.

2. The kubelet answers one line: ``{"ok": true}``, or ``{"ok": false, "code": 404, "reason": "NotFound",
   "error": "sentence"}`` and closes.

3. Then ``logs`` brings raw bytes until the kubelet closes; ``follow`` goes on until the container ends or
   the API server closes. ``portforward`` is the connection itself, each direction with an end of its own.
   ``exec`` and ``attach`` speak frames both ways: one byte channel, four bytes length (big-endian), the
   data. Channels: 0 stdin (to the kubelet), 1 stdout, 2 stderr (from it), 3 the end (from it, last: JSON
   ``{"status": exit code}`` or ``{"error": "sentence"}``), 4 the size of the terminal (to it: JSON
   ``{"Width": 80, "Height": 24}``), 255 the channel named in one byte of data is closed (to it; 0 means the
   end of stdin).
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec

from clusters.apiserver.status import Refused

STDIN, STDOUT, STDERR, END, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_HEAD = struct.Struct(">BI")
LONGEST_LINE = 64 * 1024  # bytes
_LONGEST_FRAME = 16 * 1024 * 1024  # bytes
_PATIENCE = 10.0  # seconds for a connection and the first line


def unavailable(why: str) -> Refused:
    """503: there is no kubelet to ask."""
    return Refused(503, "ServiceUnavailable", why)


class Stream:
    """One answered request: bytes or frames from and to the kubelet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def frame(self) -> tuple[int, bytes] | None:
        """The next (channel, data), or None at the end, also a sudden one."""
        try:
            channel, size = _HEAD.unpack(await self.reader.readexactly(_HEAD.size))
            if size > _LONGEST_FRAME:
                return None
            return channel, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def put(self, channel: int, data: bytes) -> None:
        """Writes one frame without waiting for the other side to take it."""
        self.writer.write(_HEAD.pack(channel, len(data)) + data)

    async def send(self, channel: int, data: bytes) -> None:
        """Writes one frame. ConnectionError: the other side is gone."""
        self.put(channel, data)
        await self.writer.drain()

    def close(self) -> None:
        """Ends the request, whatever its state."""
        self.writer.close()


async def ask(path: str, request: dict[str, Any]) -> Stream:
    """Opens a request. Refused: as the kubelet refuses it; 503 where it does not answer, 404 without one."""
    if not path:
        # Not 503: who asks may have another way to a log, and need not try this one again.
        why = "the server could not find the requested resource (started without --kubelet-socket)"
        raise Refused(404, "NotFound", why)
    writer = None
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
            writer.write(msgspec.json.encode(request) + b"\n")
            answer = msgspec.json.decode(await reader.readline())
    except (OSError, ValueError, TimeoutError, msgspec.DecodeError) as error:
        if writer is not None:
            writer.close()
        raise unavailable(f"the kubelet at {path} does not answer: {error or type(error).__name__}") from None
    if isinstance(answer, dict) and answer.get("ok") is True:
        return Stream(reader, writer)
    writer.close()
    told = answer if isinstance(answer, dict) else {}
    code = told.get("code", 500)
    words = str(told.get("error") or "the kubelet refused and did not say why")
    raise Refused(code if isinstance(code, int) else 500, str(told.get("reason", "InternalError")), words)
