"""The proxy as a whole: joins the watches, what is known, the loop, the data plane and the ports."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from implementation import kubeconfig, modes, watch
from implementation.dataplane import (
    Answering,
    Closing,
    Dataplane,
    DataplaneError,
    Inheriting,
    Noticing,
)
from implementation.loop import Loop, Pace, Synced
from implementation.node import addresses, conntrack, sysctls
from implementation.node.command import CommandError
from implementation.node.health import Health
from implementation.node.server import Ports, split_address
from implementation.objects import Node, ObjectError, parse_node
from implementation.settings import Settings
from implementation.state.desired import Desired, HealthCheck, ServiceKey
from implementation.state.known import Known

if TYPE_CHECKING:
    from implementation.node.metrics import Metrics

log = logging.getLogger("kube-proxy")
ORDINARY = gc.get_threshold()


class Proxy:
    """One running proxy."""

    def __init__(self, settings: Settings, server: watch.Server, dataplane: Dataplane) -> None:
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
        for problem in await self.ports.serve_checks(list(self._checks.values())):
            self._say_once(problem)
        if not self._took_over:
            await asyncio.to_thread(self._take_over)
            self._took_over = True
        ended = await self._end_flows(synced.desired)
        metrics = await self._numbers()
        metrics.synced(synced.desired, synced.applied, time.time() - synced.seconds)
        metrics.programmed(synced.triggers)
        metrics.ended(ended)

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
        answering = plane.answering() if isinstance(plane, Answering) else conntrack.served(desired)
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

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning("%s", sentence)

    async def _numbers(self) -> Metrics:
        """The metrics, whose library is loaded at their first use."""
        if self.metrics is None:
            self.metrics = await asyncio.to_thread(_load_metrics)
        return self.metrics

    async def _metrics(self, _request: web.Request) -> web.Response:
        text = (await self._numbers()).text()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

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


def _load_metrics() -> Metrics:
    from implementation.node.metrics import Metrics

    return Metrics()


async def _together(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all until one fails or this is cancelled."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job)


def serve(settings: Settings) -> None:
    """Run the proxy until SIGTERM or SIGINT. Raises what keeps it from starting."""
    asyncio.run(_until_told(settings))


async def _until_told(settings: Settings) -> None:
    access = kubeconfig.load(settings.kubeconfig)
    running = asyncio.create_task(_run(settings, access))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("told to stop; the rules stay as they are")


async def _run(settings: Settings, access: kubeconfig.Access) -> None:
    expect_many_objects()
    server = watch.Server(access)
    try:
        pod_cidrs = await _own_networks(server, settings) if settings.detect_local == "NodeCIDR" else ()
        _prepare_kernel(settings)
        await Proxy(settings, server, modes.dataplane(settings, pod_cidrs)).run()
    finally:
        await server.close()


def _prepare_kernel(settings: Settings) -> None:
    """Kernel settings the rules rely on; node ports on 127.0.0.1 need loopback addresses to be routed."""
    if (
        settings.mode == "iptables"
        and settings.localhost_node_ports
        and addresses.hold_loopback(settings.node_port_addresses)
    ):
        problem = sysctls.ensure(sysctls.ROUTE_LOCALNET, "1", "node ports are not served on 127.0.0.1")
        if problem:
            log.warning("%s", problem)


async def _own_networks(server: watch.Server, settings: Settings) -> tuple[str, ...]:
    """The pod networks of this Node, for --detect-local-mode=NodeCIDR; waits until it has some."""
    found: asyncio.Future[Node] = asyncio.get_running_loop().create_future()

    def see(raw: msgspec.Raw) -> None:
        try:
            node = parse_node(raw)
        except ObjectError as error:
            log.warning("Node %s: %s", settings.node_name, error)
            return
        if node.pod_cidrs and not found.done():
            found.set_result(node)

    def see_all(part: watch.Part) -> None:
        for raw in part.items:
            see(raw)

    kind = watch.node_kind(settings.node_name)
    following = asyncio.create_task(watch.Watch(server, kind, see_all, lambda _event, raw: see(raw)).run())
    try:
        return (await found).pod_cidrs
    finally:
        following.cancel()
