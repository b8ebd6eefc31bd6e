"""The kubelet's port on a node, where a real API server asks for logs, exec, attach and port-forward.

Paths and words are the kubelet's own (containerLogs, exec, attach, portForward), over TLS; what is asked goes
on to the machine's kubelet over its socket. Only the API server's address is let in.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from clusters.apiserver.status import Refused
from clusters.apiserver.streams import Pipes, log_request

Object = dict[str, Any]
# The kubelet's names of what kubectl calls stdin, stdout, stderr and tty.
_ASKED = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))


class Port:
    """Answers requests about pods."""

    def __init__(self, socket: str, only: str) -> None:
        self._pipes, self._only = Pipes(socket), only

    def application(self) -> web.Application:
        """The routes."""
        made = web.Application()
        inside = "{namespace}/{pod}/{container}"
        for method in ("GET", "POST"):
            made.router.add_route(method, f"/exec/{inside}", self._guarded(self._exec))
            made.router.add_route(method, f"/attach/{inside}", self._guarded(self._attach))
            made.router.add_route(method, "/portForward/{namespace}/{pod}", self._guarded(self._forward))
        made.router.add_get(f"/containerLogs/{inside}", self._guarded(self._logs))
        return made

    def _guarded(
        self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Only for the API server; a refusal in plain text, as the kubelet gives it."""
        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.remote != self._only:
                return web.Response(status=403, text="Forbidden")
            try:
                return await answer(request)
            except Refused as refused:
                return web.Response(status=refused.code, text=refused.message)

        return guarded

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        return await self._pipes.log(request, {**log_request(request.query, time.time()), **_about(request)})

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        command = request.query.getall("command", [])
        return await self._pipes.talk(request, {"op": "exec", "command": command, **_streams(request)})

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        return await self._pipes.talk(request, {"op": "attach", **_streams(request)})

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        return await self._pipes.forward(request, {"op": "portforward", **_about(request)})


def _about(request: web.Request) -> Object:
    return {name: request.match_info.get(name, "") for name in ("namespace", "pod", "container")}


def _streams(request: web.Request) -> Object:
    return _about(request) | {name: request.query.get(word) == "1" for name, word in _ASKED}


async def serve(port: Port, address: str, number: int, folder: Path) -> None:
    """Serve until SIGTERM, with the API server's own certificate."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    runner = web.AppRunner(port.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, number, ssl_context=context).start()
    await stop.wait()
    await runner.cleanup()


def main(args: Sequence[str]) -> int:
    """Run with ``--listen ADDRESS:PORT --only ADDRESS --socket PATH --cert-dir FOLDER``; the exit status."""
    parser = argparse.ArgumentParser(prog="kubelet", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--only", required=True, help="the API server's address")
    parser.add_argument("--socket", required=True, help="the machine's kubelet")
    parser.add_argument("--cert-dir", required=True, type=Path)
    options = parser.parse_args(args)
    address, _, number = options.listen.rpartition(":")
    asyncio.run(serve(Port(options.socket, options.only), address, int(number), options.cert_dir))
    return 0
