"""The cluster DNS server: UDP and TCP on one or more addresses, and over HTTP whether it is ready.

There is no server above it: names outside the cluster domain are refused at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Sequence
from typing import cast

from aiohttp import web

from clusters.client import ApiError, Client
from clusters.credentials import KubeconfigError
from clusters.dns.directory import Directory
from clusters.dns.records import Zone
from clusters.dns.wire import respond

_WATCHED = {
    "services": "/api/v1/services", "namespaces": "/api/v1/namespaces",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
}
_IDLE = 10.0  # seconds a TCP client may stay silent
_REFUSED_WAIT = 2.0  # seconds before a watch that was refused (not cut) is asked for again


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP socket."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # its class does not say so itself

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = respond(data, self._zone)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


class Server:
    """Answers for one zone; ``ready`` is set once every kind has been read."""

    def __init__(self, domain: str = "cluster.local") -> None:
        self.directory = Directory()
        self.zone = Zone(self.directory, domain)
        self.ready = asyncio.Event()
        self._closing: list[asyncio.Server | asyncio.DatagramTransport] = []
        self._site: web.AppRunner | None = None

    async def listen(self, host: str, port: int) -> int:
        """Serve UDP and TCP there; gives the port (0 asks for any, the same for both)."""
        loop, family = asyncio.get_running_loop(), socket.AF_INET6 if ":" in host else socket.AF_INET
        stream = socket.socket(family, socket.SOCK_STREAM)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        for made in (stream, datagrams):
            made.setblocking(False)
            if family == socket.AF_INET6:  # so that [::] and 0.0.0.0 can both be served
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # bursts wait here, not get lost
        try:
            stream.bind((host, port))
            port = stream.getsockname()[1]
            datagrams.bind((host, port))
        except OSError:
            stream.close()
            datagrams.close()
            raise
        self._closing.append(await asyncio.start_server(self._stream, sock=stream, backlog=512))
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self.zone), sock=datagrams)
        self._closing.append(transport)
        return port

    async def serve_ready(self, host: str, port: int) -> int:
        """Serve GET /ready over HTTP: 200 when every kind has been read, 503 before; gives the port.

        Beside it /health, the same, and /metrics.
        """
        async def ready(_: web.Request) -> web.Response:
            known = self.ready.is_set()
            return web.Response(status=200 if known else 503, text="OK" if known else "not yet")

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=f"cluster_dns_ready {int(self.ready.is_set())}\n")

        application = web.Application()
        application.router.add_get("/ready", ready)
        application.router.add_get("/health", ready)
        application.router.add_get("/metrics", metrics)
        self._site = web.AppRunner(application, access_log=None)
        await self._site.setup()
        await web.TCPSite(self._site, host, port).start()
        return int(self._site.addresses[0][1])

    async def follow(self, client: Client) -> None:
        """Keep the zone as the API server has it, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for plural, path in _WATCHED.items():
                group.create_task(self._watch(client, plural, path))

    async def close(self) -> None:
        """Stop answering."""
        for served in self._closing:
            served.close()
        if self._site is not None:
            await self._site.cleanup()

    async def _watch(self, client: Client, plural: str, path: str) -> None:
        while True:
            try:
                async for kind, value in client.watch(path, trouble=_say):
                    self.directory.event(plural, kind, value)
                    if self.directory.synced >= set(_WATCHED):
                        self.ready.set()
            except ApiError as error:
                _say(f"watch of {plural} refused ({error.status}): {error.message}; trying again")
            await asyncio.sleep(_REFUSED_WAIT)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One TCP client: messages of two length bytes each, as many as it likes (RFC 7766)."""
        try:
            while True:
                async with asyncio.timeout(_IDLE):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    answer = respond(await reader.readexactly(length), self.zone, tcp=True)
                    if answer is None:
                        return
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.wait_closed()


def endpoint_of(text: str) -> tuple[str, int]:
    """``ADDR:PORT`` or ``[ADDR6]:PORT`` as address and number; ValueError with what was expected."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address and port; expected ADDR:PORT or [ADDR6]:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)


async def _run(options: argparse.Namespace) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(options.cluster_domain)
    async with Client.from_kubeconfig(options.kubeconfig) as client:
        for host, port in options.listen or [("0.0.0.0", 53)]:
            await server.listen(host, port)
        await server.serve_ready(*options.ready)
        following = asyncio.create_task(server.follow(client))
        await stop.wait()
        server.ready.clear()
        stop.clear()
        # Proxies may still send here until they learn that this pod goes; a second signal ends the wait.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), options.lameduck)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    await server.close()


def main(args: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT: 0 then, 2 when options, kubeconfig or an address cannot be used."""
    parser = argparse.ArgumentParser(prog="cluster-dns", description=__doc__)
    parser.add_argument("--kubeconfig", required=True, help="how to reach the API server")
    parser.add_argument("--listen", type=endpoint_of, action="append", metavar="ADDR:PORT",
                        help="where to answer, UDP and TCP; may be repeated (default 0.0.0.0:53)")
    parser.add_argument("--ready", type=endpoint_of, default=("0.0.0.0", 8181), metavar="ADDR:PORT",
                        help="where GET /ready answers (default 0.0.0.0:8181)")
    parser.add_argument("--cluster-domain", default="cluster.local")
    parser.add_argument("--lameduck", type=float, default=5.0, metavar="SECONDS",
                        help="how long to answer on after SIGTERM (default 5)")
    try:
        asyncio.run(_run(parser.parse_args(args)))
    except (KubeconfigError, OSError) as error:
        _say(f"cluster DNS cannot start: {error}")
        return 2
    return 0
