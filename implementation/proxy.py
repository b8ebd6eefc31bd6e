"""The proxy as a whole: joins the watches, what is known, the loop, the data plane and the ports."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from implementation import kubeconfig, watch
from implementation.dataplane import Dataplane
from implementation.dataplane.iptables import Iptables
from implementation.loop import Loop, Pace, Synced
from implementation.node.health import Health
from implementation.node.server import Ports, split_address
from implementation.settings import Settings
from implementation.state.known import Known

log = logging.getLogger("kube-proxy")


class Proxy:
    """One running proxy."""

    def __init__(self, settings: Settings, dataplane: Dataplane) -> None:
        self.settings = settings
        self.known = Known(settings.node_name)
        self.health = Health(2 * settings.sync_period)
        self.ports = Ports(self.health)
        self.loop = Loop(
            self.known, dataplane, self.health, Pace(shortest=settings.min_sync_period,
            retry_longest=settings.sync_period), after=self._after_sync,
        )
        self._started = time.monotonic()

    async def run(self) -> None:
        """Serve until cancelled. Rules stay when it ends. Raises KubeconfigError, OSError (a port)."""
        server = watch.Server(kubeconfig.load(self.settings.kubeconfig))
        try:
            await self._open_ports()
            await _together([self._watch(server, kind, each, every) for kind, each, every in (
                (watch.SERVICES, self.known.see_service, self.known.see_services),
                (watch.SLICES, self.known.see_slice, self.known.see_slices),
                (watch.node_kind(self.settings.node_name), self.known.see_node, self.known.see_nodes),
            )] + [self.loop.run()])
        finally:
            await server.close()
            await self.ports.close()

    def _watch(
        self, server: watch.Server, kind: watch.Kind,
        each: Callable[[str, msgspec.Raw], None], every: Callable[[Sequence[msgspec.Raw]], None],
    ) -> Coroutine[Any, Any, None]:
        def on_list(raws: Sequence[msgspec.Raw]) -> None:
            every(raws)
            self.loop.listed(kind.name)

        def on_event(event: str, raw: msgspec.Raw) -> None:
            each(event, raw)
            self.loop.changed()

        return watch.Watch(server, kind, on_list, on_event).run()

    async def _open_ports(self) -> None:
        if self.settings.healthz:
            handlers = {"/healthz": self.ports.healthz, "/livez": self.ports.livez}
            await self.ports.listen(*split_address(self.settings.healthz), handlers)

    async def _after_sync(self, synced: Synced) -> None:
        if synced.applied.full:
            log.info("%d Services in force: %d rules in %.0f ms, %.0f ms after the start", len(synced.desired.services),
                     synced.applied.total, synced.seconds * 1000, (time.monotonic() - self._started) * 1000)
        checks = [s.health_check for s in synced.desired.services.values() if s.health_check]
        for problem in await self.ports.serve_checks(checks):
            log.warning("%s", problem)


async def _together(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all until one fails or this is cancelled."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job)


def serve(settings: Settings) -> None:
    """Run the proxy until SIGTERM or SIGINT. Raises what keeps it from starting."""
    dataplane = Iptables(settings.options(), settings.variant)
    asyncio.run(_until_told(Proxy(settings, dataplane)))


async def _until_told(proxy: Proxy) -> None:
    running = asyncio.create_task(proxy.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("told to stop; the rules stay as they are")
