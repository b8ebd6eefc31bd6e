"""Asking over HTTP or TCP from inside a network namespace: readiness probes and waits for a program."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clusters.base import ClusterError
from clusters.netns.hosts import connect

_LONGEST = 64 * 1024


async def tcp_answers(network: int, address: str, port: int, timeout: float) -> bool:
    """Whether a TCP connection is accepted within ``timeout`` seconds."""
    try:
        (await connect(network, address, port, timeout)).close()
    except ClusterError:
        return False
    return True


async def http_status(
    network: int, address: str, port: int, path: str, timeout: float,
    headers: Sequence[tuple[str, str]] = (),
) -> int:
    """The status of one GET; 0 when there is no answer within ``timeout`` seconds, or no HTTP."""
    try:
        async with asyncio.timeout(timeout):
            made = await connect(network, address, port, timeout)
            reader, writer = await asyncio.open_connection(sock=made)
            try:
                lines = [f"GET {path} HTTP/1.1", f"Host: {address}:{port}", "Connection: close",
                         "User-Agent: kube-probe/embedded", *(f"{name}: {value}" for name, value in headers)]
                writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
                words = (await reader.readline()).split(None, 2)
                await reader.read(_LONGEST)
                return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
            finally:
                writer.close()
    except (ClusterError, TimeoutError, OSError, ValueError):
        return 0
