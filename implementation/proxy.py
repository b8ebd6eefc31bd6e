"""One proxy at work: joins the watches, what is known, the loop, the data plane and the ports."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from implementation import configfile, modes, watch
from implementation.dataplane import (
    Answering,
    Closing,
    Dataplane,
    DataplaneError,
    Inheriting,
    Noticing,
)
from implementation.loop import Loop, Pace, Synced
from implementation.node import addresses, conntrack
from implementation.node.command import CommandError
from implementation.node.health import Health
from implementation.node.server import Ports, split_address
from implementation.settings import Settings
from implementation.state.desired import Desired, HealthCheck, ServiceKey
from implementation.state.known import Known
from implementation.status import Subject, Writer

if TYPE_CHECKING:
    from implementation.node.metrics import Metrics

log = logging.getLogger("kube-proxy")
ORDINARY = gc.get_threshold()


class Proxy:
    """One running proxy."""

    def __init__(
        self, settings: Settings, server: watch.Server, dataplane: Dataplane, writer: Writer
    ) -> None:
        self.settings, self.server, self.dataplane = settings, server, dataplane
        fixed = () if settings.bind_address in ("", "0.0.0.0", "::") else (settings.bind_address,)
        self.known = Known(settings.node_name, fixed)
        self.health = Health(2 * settings.sync_period)
        self.ports = Ports(self.health, self._answered)
        self.flows = conntrack.Reconciler()
        self.metrics: Metrics | None = None
        self.loop = Loop(
            self.known,
            dataplane,
            self.health,
            Pace(
                shortest=settings.min_sync_period,
                retry_longest=settings.sync_period,
                look=min(5.0, settings.sync_period),
            ),
            after=self._after_sync,
            failed=self._failed,
            addresses=self._node_port_addresses,
            needs=self._needs(),
        )
        self._started = time.monotonic()
        self._said: set[str] = set()
        self._checks: dict[ServiceKey, HealthCheck] = {}
        self._udp: set[ServiceKey] = set()  # Services with a UDP port
        self._flows_due = False  # something changed for UDP clients that is not seen to yet
        self._took_over = False
        self.writer = writer  # of Events; whoever made it closes it
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled. Rules stay when it ends. Raises OSError where a port cannot be had."""
        try:
            await self._open_ports()
            if isinstance(self.dataplane, Noticing):
                asyncio.get_running_loop().add_reader(self.dataplane.fileno(), self.loop.noticed)
            await _together(
                [
                    *(
                        self._watch(kind, each, every)
                        for kind, each, every in (
                            (watch.SERVICES, self.known.see_service, self.known.see_services),
                            (watch.SLICES, self.known.see_slice, self.known.see_slices),
                            (
                                watch.node_kind(self.settings.node_name),
                                self.known.see_node,
                                self.known.see_nodes,
                            ),
                        )
                    ),
                    self.loop.run(),
                ]
            )
        finally:
            await self.ports.close()
            for told in self._telling:
                told.cancel()
            if isinstance(self.dataplane, Closing):
                await asyncio.to_thread(self.dataplane.close)

    def _watch(
        self,
        kind: watch.Kind,
        each: Callable[[str, msgspec.Raw], None],
        every: Callable[..., None],
    ) -> Coroutine[Any, Any, None]:
        def on_list(part: watch.Part) -> None:
            every(part.items, first=part.first, last=part.last)
            self.loop.listed(kind.name, whole=part.last)

        def on_event(event: str, raw: msgspec.Raw) -> None:
            each(event, raw)
            self.loop.changed()

        return watch.Watch(self.server, kind, on_list, on_event).run()

    async def _open_ports(self) -> None:
        """Health and metrics. A port in use ends the start: two proxies on one node would fight."""
        health = {"/healthz": self.ports.healthz, "/livez": self.ports.livez}
        numbers = {"/metrics": self._metrics, "/proxyMode": self._mode, "/healthz": self.ports.healthz}
        numbers["/configz"] = self._configz
        for where, handlers in ((self.settings.healthz, health), (self.settings.metrics, numbers)):
            if where and split_address(where)[1]:
                try:
                    await self.ports.listen(*split_address(where), handlers)
                except OSError as error:
                    raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from error

    async def _after_sync(self, synced: Synced) -> None:
        """Everything that follows rules which are in force: health checks, flows to end, numbers."""
        if synced.applied.full:
            log.info(
                "%d Services in force: %d rules in %.0f ms, %.0f ms after the start",
                len(synced.desired.services),
                synced.applied.total,
                synced.seconds * 1000,
                (time.monotonic() - self._started) * 1000,
            )
            settle_memory()
        self._note(synced)
        for check, problem in await self.ports.serve_checks(list(self._checks.values())):
            self._no_health_check(check, problem)
        if not self._took_over:
            node = self.settings.node_name
            self._tell(Subject("Node", "default", node, node), "Normal", "Starting", "")
            await asyncio.to_thread(self._take_over)
            self._took_over = True
        began = time.monotonic()
        ended = await self._end_flows(synced.desired)
        took = time.monotonic() - began
        metrics = await self._numbers()
        metrics.synced(synced.desired, synced.applied, time.time() - synced.seconds)
        metrics.programmed(synced.triggers)
        metrics.ended(ended, took)

    def _note(self, synced: Synced) -> None:
        """Keep what follows from the Services that changed; the others, very many, are not looked at."""
        for key in synced.applied.services:
            served = synced.desired.services.get(key)
            if served and served.health_check:
                self._checks[key] = served.health_check
            else:
                self._checks.pop(key, None)
            udp = served is not None and any(port.protocol == "udp" for port in served.ports)
            self._flows_due |= udp or key in self._udp
            (self._udp.add if udp else self._udp.discard)(key)

    def _take_over(self) -> None:
        """What was served before us, in this mode or another. Another's rules go now, as ours are in force:
        so a change of the mode costs no connection."""
        if isinstance(self.dataplane, Inheriting):
            self.flows.inherit(self.dataplane.inherited())
        self._flows_due = True
        for mode, plane in modes.others(self.settings):
            try:
                if plane.left():
                    self.flows.inherit(plane.inherited())
                    plane.cleanup()
                    log.info("rules of mode %s were left here: removed", mode)
            except DataplaneError as error:
                log.debug("whether mode %s left rules is not known: %s", mode, error)

    async def _end_flows(self, desired: Desired) -> int:
        plane = self.dataplane
        if not self._flows_due:
            return 0
        if isinstance(plane, Answering):
            answering = plane.answering()
        else:
            answering = conntrack.served(desired.services[key] for key in self._udp)
        try:
            ended = 0
            if self.flows.needed(answering):
                local = frozenset(await asyncio.to_thread(addresses.local))
                ended = await asyncio.to_thread(self.flows.reconcile, answering, local)
            self._flows_due = False
            return ended
        except CommandError as error:
            self._say_once(f"stale UDP flows cannot be ended, clients may keep a gone endpoint: {error}")
            return 0

    def _needs(self) -> tuple[str, ...]:
        """What must be known before rules are written. A successor that does not know the Node's addresses
        yet would close the node ports its predecessor serves."""
        node = (watch.node_kind("").name,) if self.settings.node_port_networks == ("primary",) else ()
        return (watch.SERVICES.name, watch.SLICES.name, *node)

    def _node_port_addresses(self) -> tuple[str, ...] | None:
        """The addresses node ports are served on, None for all."""
        networks = self.settings.node_port_networks
        if networks == ("primary",):
            return self.known.node.addresses
        if not networks:
            return None
        try:
            return addresses.matching(addresses.local(), networks)
        except CommandError as error:
            self._say_once(
                f"--nodeport-addresses: the Node's addresses are taken, as the interfaces' are not known: "
                f"{error}"
            )
            return addresses.matching(self.known.node.addresses, networks)

    def _no_health_check(self, check: HealthCheck, problem: str) -> None:
        """Tell of a healthCheckNodePort that cannot be had: in the log, and where users look."""
        name = f"{check.namespace}/{check.name}"
        where = f'node {self.settings.node_name} failed to start healthcheck "{name}"'
        message = f"{where} on port {check.port}: {problem}"
        if self._say_once(message):
            subject = Subject("Service", check.namespace, check.name)
            self._tell(subject, "Warning", "FailedToStartServiceHealthcheck", message)

    def _tell(self, subject: Subject, kind: str, reason: str, message: str) -> None:
        """Write an Event beside everything else: nothing waits for it, and it never fails."""
        told = asyncio.get_running_loop().create_task(self.writer.event(subject, kind, reason, message))
        self._telling.add(told)
        told.add_done_callback(self._telling.discard)

    def _say_once(self, sentence: str) -> bool:
        """Log a warning; False where it was said before."""
        if sentence in self._said:
            return False
        self._said.add(sentence)
        log.warning("%s", sentence)
        return True

    async def _numbers(self) -> Metrics:
        """The metrics, whose library is loaded at their first use."""
        if self.metrics is None:
            self.metrics = await asyncio.to_thread(_load_metrics, self.settings.mode)
        return self.metrics

    async def _metrics(self, _request: web.Request) -> web.Response:
        metrics = await self._numbers()
        for kind, seen in self.known.seen.items():
            metrics.changed(kind, seen, seen - self.known.decided[kind])
        text = metrics.text()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _configz(self, _request: web.Request) -> web.Response:
        return web.json_response(configfile.shown(self.settings))

    async def _mode(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.settings.mode)

    def _answered(self, path: str, status: int) -> None:
        if self.metrics is not None:
            {"healthz": self.metrics.healthz, "livez": self.metrics.livez}[path].labels(str(status)).inc()

    def _failed(self, partial: bool) -> None:
        if self.metrics is not None:
            self.metrics.failed(partial=partial)


def expect_many_objects() -> None:
    """Have the collector look seldom while the lists are read: nearly all of what is made then stays."""
    gc.set_threshold(100_000, 20, 100)


def settle_memory() -> None:
    """What is there now stays: never look at it again, as that takes longer than a change of rules."""
    gc.freeze()
    gc.set_threshold(*ORDINARY)


def _load_metrics(mode: str) -> Metrics:
    from implementation.node.metrics import Metrics

    return Metrics(mode)


async def _together(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all until one fails or this is cancelled."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job)
