"""Carries connections from an inherited listening socket to one address: from the user's loopback to the LAN.

A real API server opens its own sockets, all in the control plane's network; the user's kubectl is outside.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

_AT_ONCE = 65536  # bytes


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one to the other, then the end of it: also of one that was cut, or who waits for it
    would wait on.
    """
    with suppress(ConnectionError):
        while part := await reader.read(_AT_ONCE):
            writer.write(part)
            await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, port: int,
) -> None:
    """One connection, both ways, until both sides have ended it."""
    there: asyncio.StreamWriter | None = None
    try:
        answers, there = await asyncio.open_connection(address, port)
        await asyncio.gather(_pump(reader, there), _pump(answers, writer))
    except OSError:
        pass  # the caller sees its connection end, as it would of a server that is gone
    finally:
        for side in (writer, there):
            if side is not None:
                side.close()


async def relay(listener: socket.socket, address: str, port: int) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(
        lambda reader, writer: _carry(reader, writer, address, port), sock=listener, backlog=256)
    async with server:
        await stop.wait()


def main(args: Sequence[str]) -> int:
    """Run with ``--inherit-fd N --to ADDRESS:PORT``; gives the exit status."""
    parser = argparse.ArgumentParser(prog="relay", description=__doc__)
    parser.add_argument("--inherit-fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--to", required=True, metavar="ADDRESS:PORT", help="where connections go")
    options = parser.parse_args(args)
    address, _, port = options.to.rpartition(":")
    asyncio.run(relay(socket.socket(fileno=options.inherit_fd), address, int(port)))
    return 0
