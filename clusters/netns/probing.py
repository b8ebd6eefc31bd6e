"""Asking over HTTP or TCP from inside a network namespace: readiness probes and waits for a program."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from clusters.base import ClusterError
from clusters.netns.hosts import connect

_LONGEST = 64 * 1024


async def tcp_answers(network: int, address: str, port: int, timeout: float) -> bool:
    """Whether a TCP connection is accepted within ``timeout`` seconds."""
    return not await tcp_error(network, address, port, timeout)


async def tcp_error(network: int, address: str, port: int, timeout: float) -> str:
    """Why no TCP connection is accepted within ``timeout`` seconds, in Go's words; empty when one is."""
    try:
        (await connect(network, address, port, timeout)).close()
    except ClusterError as error:
        return _dial_error(address, port, error)
    return ""


def _dial_error(address: str, port: int, error: ClusterError) -> str:
    late = isinstance(error.__cause__, TimeoutError)
    words = "i/o timeout" if late else f"connect: {str(error).rpartition(': ')[2].lower()}"
    return f"dial tcp {address}:{port}: {words}"


async def http_status(
    network: int, address: str, port: int, path: str, timeout: float,
    headers: Sequence[tuple[str, str]] = (),
) -> int:
    """The status of one GET; 0 when there is no answer within ``timeout`` seconds, or no HTTP."""
    return (await http_answer(network, address, port, path, timeout, headers))[0]


async def http_answer(
    network: int, address: str, port: int, path: str, timeout: float,
    headers: Sequence[tuple[str, str]] = (), *, tls: bool = False,
) -> tuple[int, str]:
    """The status of one GET, or 0 and why there is none, in Go's words; TLS unverified."""
    try:
        async with asyncio.timeout(timeout):
            made = await connect(network, address, port, timeout)
            reader, writer = await asyncio.open_connection(
                sock=made, ssl=_trusting() if tls else None, server_hostname=address if tls else None)
            try:
                lines = [f"GET {path} HTTP/1.1", f"Host: {address}:{port}", "Connection: close",
                         "User-Agent: kube-probe/embedded", *(f"{name}: {value}" for name, value in headers)]
                writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
                words = (await reader.readline()).split(None, 2)
                await reader.read(_LONGEST)
                if len(words) > 1 and words[1].isdigit():
                    return int(words[1]), ""
                return 0, "EOF" if not words else "net/http: HTTP/1.x transport connection broken"
            finally:
                writer.close()
    except TimeoutError:
        return 0, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    except ClusterError as error:
        return 0, _dial_error(address, port, error)
    except (OSError, ValueError) as error:
        return 0, str(error)


def _trusting() -> ssl.SSLContext:
    """TLS that looks at no certificate, as a kubelet's probes do."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
