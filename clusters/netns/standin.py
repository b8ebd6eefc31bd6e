"""Stand-ins for the programs of kube-system: HTTP on their ports, and nothing behind it.

``traefik`` answers as Traefik does where no Ingress is: 404 and ``404 page not found``, on 80 and (plain TCP,
no TLS) on 443; its metrics are on 9100. ``metrics-server`` answers 200 on 443, plain too. Each says in a
header what it is. A program without ports waits for its end. ``klipper-helm``, with which k3s installs
Traefik, has nothing to install here: it says so and ends.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

_SECONDS = 30.0  # patience with a client that says nothing
_Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
# Program -> port -> (status line, body).
_ANSWERS: dict[str, dict[int, tuple[str, str]]] = {
    "traefik": {
        80: ("404 Not Found", "404 page not found\n"), 443: ("404 Not Found", "404 page not found\n"),
        9100: ("200 OK", "# A stand-in for Traefik.\ntraefik_stand_in 1\n"),
    },
    "metrics-server": {443: ("200 OK", "ok\n")},
    "local-path-provisioner": {},
}


def answering(name: str, status: str, body: str) -> _Talk:
    """What talks to one client: reads a request's head, answers, closes."""
    answer = (f"HTTP/1.1 {status}\r\nServer: service-conformance-stand-in\r\nX-Stand-In: not {name}\r\n"
              f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
              f"Connection: close\r\n\r\n{body}").encode()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError):
            pass  # a client that wanted something else
        finally:
            writer.close()

    return talk


async def serve(name: str) -> None:
    """Serve the program's ports until SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    servers = [await asyncio.start_server(answering(name, *answer), "0.0.0.0", port)
               for port, answer in _ANSWERS[name].items()]
    await stop.wait()
    for server in servers:
        server.close()


def main(args: Sequence[str]) -> int:
    """Be the program named by the first argument."""
    if args[0] == "klipper-helm":
        print("a stand-in for klipper-helm: what its chart would install is there already")  # noqa: T201
        return 0
    asyncio.run(serve(args[0]))
    return 0
