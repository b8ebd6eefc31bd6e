"""The proxy's HTTP ports: health, metrics, and one for each healthCheckNodePort."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web

from implementation.node.health import Answer, Health, healthz, livez, service_health
from implementation.state.desired import HealthCheck

log = logging.getLogger("kube-proxy.http")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AddressError(ValueError):
    """A bind address cannot be understood; says which form is expected."""


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``10.0.0.1:80``, ``[::1]:80`` or ``:80``. Raises AddressError."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError
        return (str(ip_address(host)) if host else "0.0.0.0", int(port))
    except ValueError:
        raise AddressError(
            f"{text!r} is not an address and port such as 127.0.0.1:10256 or [::1]:10256"
        ) from None


def _every() -> tuple[str, ...]:
    """The addresses that stand for all, of each family this host has."""
    return ("0.0.0.0", "::") if Path("/proc/net/if_inet6").exists() else ("0.0.0.0",)


def answer_json(answer: Answer) -> web.Response:
    """The answer with upstream's headers."""
    return web.Response(
        status=answer.status,
        text=json.dumps(answer.body),
        content_type="application/json",
        headers={"X-Content-Type-Options": "nosniff", **answer.headers},
    )


class Ports:
    """All listening ports of the proxy."""

    def __init__(self, health: Health, counted: Callable[[str, int], None]) -> None:
        self._health, self._counted = health, counted
        self._runners: list[web.AppRunner] = []
        self._checks: dict[tuple[str, str], tuple[HealthCheck, web.AppRunner | None]] = {}

    async def listen(
        self, host: str | Sequence[str], port: int, handlers: Mapping[str, Handler]
    ) -> web.AppRunner:
        """Serve ``handlers`` by path, on one address or several. Raises OSError where the port cannot be
        had."""
        app = web.Application()
        for path, handler in handlers.items():
            app.router.add_get(path, handler)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await runner.setup()
        try:
            for one in (host,) if isinstance(host, str) else host:
                await web.TCPSite(runner, one, port, reuse_address=True).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runners.append(runner)
        return runner

    async def healthz(self, _request: web.Request) -> web.StreamResponse:
        """GET /healthz."""
        answer = healthz(self._health, time.monotonic())
        self._counted("healthz", answer.status)
        return answer_json(answer)

    async def livez(self, _request: web.Request) -> web.StreamResponse:
        """GET /livez."""
        answer = livez(self._health, time.monotonic())
        self._counted("livez", answer.status)
        return answer_json(answer)

    async def serve_checks(self, wanted: Iterable[HealthCheck]) -> list[tuple[HealthCheck, str]]:
        """Open, change and close healthCheckNodePorts; gives those that cannot be had, and why."""
        checks = {(check.namespace, check.name): check for check in wanted}
        problems: list[tuple[HealthCheck, str]] = []
        for key, (old, runner) in list(self._checks.items()):
            if key not in checks or checks[key].port != old.port:
                del self._checks[key]
                if runner is not None:
                    self._runners.remove(runner)
                    await runner.cleanup()
        for key, check in checks.items():
            runner = self._checks[key][1] if key in self._checks else None
            if runner is None:
                try:
                    runner = await self.listen(_every(), check.port, {"/{any:.*}": self._check_handler(key)})
                except OSError as error:
                    problems.append((check, os.strerror(error.errno) if error.errno else str(error)))
            self._checks[key] = (check, runner)
        return problems

    def _check_handler(self, key: tuple[str, str]) -> Handler:
        async def handle(_request: web.Request) -> web.StreamResponse:
            return answer_json(service_health(self._checks[key][0], self._health, time.monotonic()))

        return handle

    async def close(self) -> None:
        """Close every port."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        self._runners = []
