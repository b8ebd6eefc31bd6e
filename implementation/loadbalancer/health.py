"""``/healthz`` and ``/metrics`` of controller and speaker, under MetalLB's port and metric names."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

PORT = 7472  # MetalLB's for both


async def serve(
    address: str, port: int, ready: Callable[[], str], registry: CollectorRegistry,
) -> web.AppRunner:
    """Listen on this address; ``ready`` gives the empty string or a sentence saying what is still missing."""

    async def healthz(_request: web.Request) -> web.Response:
        missing = ready()
        return web.Response(text=missing or "ok", status=503 if missing else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner
