"""The controller: follows Services and the configuration, and writes who has which address into their
status.

The status is the only store: after a restart the same addresses are read back from it, those that have one
first.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import logging
import secrets
import signal
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from implementation import kubeconfig
from implementation.loadbalancer import health, inputs
from implementation.loadbalancer.allocate import Allocator
from implementation.loadbalancer.assignment import Decision, decide
from implementation.loadbalancer.keys import OWN_SECRET
from implementation.loadbalancer.sources import Objects, Sources, labels_by_name
from implementation.objects.balanced import BalancedService, parse_balanced
from implementation.objects.fields import ObjectError
from implementation.status import Subject, WriteError, Writer
from implementation.watch import Kind, Server, Watch

log = logging.getLogger("loadbalancer.controller")

AT_ONCE = 8  # services written beside each other
RETRY_SECONDS = 1.0  # after the server refused a write


class Metrics:
    """MetalLB's metrics of the allocator and the configuration."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_use = Gauge("metallb_allocator_addresses_in_use_total", "Addresses in use", ["pool"],
                            registry=self.registry)
        self.total = Gauge("metallb_allocator_addresses_total", "Addresses of the pool", ["pool"],
                           registry=self.registry)
        self.loaded = Gauge("metallb_k8s_client_config_loaded_bool", "A configuration is in force",
                            registry=self.registry)
        self.stale = Gauge("metallb_k8s_client_config_stale_bool", "The newest configuration is not in force",
                           registry=self.registry)

    def update(self, allocator: Allocator, sources: Sources) -> None:
        """Set all gauges to what is so now."""
        self.loaded.set(sources.config is not None)
        self.stale.set(bool(sources.problem))
        self.in_use.clear()
        self.total.clear()
        for name, used in allocator.in_use().items():
            self.in_use.labels(name).set(used)
        for name, pool in (sources.config.pools if sources.config else {}).items():
            self.total.labels(name).set(sum(span.last - span.first + 1 for span in pool.ranges))


class Controller:
    """Keeps the status of every Service of type LoadBalancer as the pools allow."""

    def __init__(self, writer: Writer, namespace: str, load_balancer_class: str | None = None) -> None:
        self._writer, self._namespace, self._class = writer, namespace, load_balancer_class
        self._allocator = Allocator()
        self._sources = Sources(namespace, self._configured)
        self._services = Objects(self._service_changed, self._all)
        self._namespaces = Objects(lambda _key: self._all(), self._all)
        self._labels: dict[str, dict[str, str]] = {}
        self._queue: dict[str, None] = {}  # in order, each key once
        self._writing: set[str] = set()
        self._pending: set[str] = set()
        self._told: dict[str, frozenset[tuple[str, str]]] = {}  # events already sent, by service
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._secret_done = False
        self.metrics = Metrics()

    def watches(self, server: Server) -> list[Watch]:
        """Everything to be followed."""
        return [
            *self._sources.watches(server),
            self._services.watch(server, Kind("services", "/api/v1/services")),
            self._namespaces.watch(server, Kind("namespaces", "/api/v1/namespaces")),
        ]

    def missing(self) -> str:
        """What is not known yet, in a sentence; empty once the controller decides."""
        if not (self._services.synced and self._namespaces.synced):
            return "the lists of Services and Namespaces are not complete yet"
        known = self._sources.config is not None or self._sources.problem
        return "" if known else "no configuration was read yet"

    def _configured(self) -> None:
        if self._sources.config is not None:
            self._allocator.set_configuration(self._sources.config)
        self._all()

    def _service_changed(self, key: str) -> None:
        self._queue[key] = None
        self._wake.set()

    def _all(self) -> None:
        """Look at every service anew: those with an address first, so nobody else is given theirs."""
        self._labels = labels_by_name(self._namespaces)
        found = [(key, self._parsed(key)) for key in self._services.raw]
        with_address = [key for key, service in found if service is not None and service.ingress]
        gone = [key for key in self._told.keys() | self._pending if key not in self._services.raw]
        self._queue = dict.fromkeys((*gone, *with_address, *(key for key, _ in found)))
        self._wake.set()

    def _parsed(self, key: str) -> BalancedService | None:
        raw = self._services.raw.get(key)
        if raw is None:
            return None
        try:
            return parse_balanced(raw)
        except ObjectError as error:
            log.warning("Service %s left as it is: %s", key, error)
            return None

    async def run(self) -> None:
        """Decide and write until cancelled."""
        limit = asyncio.Semaphore(AT_ONCE)
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.missing():
                continue
            await self._own_secret()
            if self._sources.config is None:
                continue
            while key := next((key for key in self._queue if key not in self._writing), None):
                del self._queue[key]
                await limit.acquire()
                self._start(key, limit)
            self.metrics.update(self._allocator, self._sources)

    def _start(self, key: str, limit: asyncio.Semaphore) -> None:
        """Decide now (in order), write beside others."""
        before = self._allocator.held(key)
        service = self._parsed(key)
        decision = self._decide(key, service)
        if before != self._allocator.held(key) and before:
            for waiting in self._pending - {key}:
                self._queue[waiting] = None
        self._writing.add(key)
        task = asyncio.create_task(self._write(key, service, decision))
        self._tasks.add(task)

        def done(_task: asyncio.Task[None]) -> None:
            limit.release()
            self._tasks.discard(task)
            self._writing.discard(key)
            self._wake.set()

        task.add_done_callback(done)

    def _decide(self, key: str, service: BalancedService | None) -> Decision | None:
        if service is None:
            if key not in self._services.raw:
                self._allocator.release(key)
                self._told.pop(key, None)
                self._pending.discard(key)
            return None
        config = self._sources.config
        if config is None:
            return None
        decision = decide(service, config, self._allocator, load_balancer_class=self._class,
                          namespace_labels=self._labels.get(service.namespace, {}))
        (self._pending.add if decision.pending else self._pending.discard)(key)
        return decision

    async def _write(self, key: str, service: BalancedService | None, decision: Decision | None) -> None:
        if service is None or decision is None or not decision.ours:
            return
        try:
            await self._write_object(service, decision)
        except WriteError as error:
            if error.code == 404:  # deleted meanwhile; the watch will say so
                return
            log.warning("Service %s: %s; trying again", key, error)
            await asyncio.sleep(RETRY_SECONDS)
            self._queue[key] = None
            return
        await self._tell(key, service, decision)

    async def _write_object(self, service: BalancedService, decision: Decision) -> None:
        """The annotation first: whoever finds the address in the status also finds whose it is."""
        wanted: dict[str, str | None] = {}
        mark = inputs.PREFIX + inputs.ALLOCATED_FROM
        if (service.annotation(mark) or "") != decision.pool:
            wanted[mark] = decision.pool or None
        if service.annotation(inputs.DEPRECATED + inputs.ALLOCATED_FROM) is not None:
            wanted[inputs.DEPRECATED + inputs.ALLOCATED_FROM] = None
        if wanted:
            await self._writer.service_annotations(service.namespace, service.name, wanted)
        if service.ingress != decision.ingress or service.foreign_hostname:
            await self._writer.service_ingress(service.namespace, service.name, decision.ingress)

    async def _tell(self, key: str, service: BalancedService, decision: Decision) -> None:
        """Send the events; about a service that goes on waiting nothing is said twice."""
        told = self._told.get(key, frozenset())
        self._told[key] = frozenset((event.reason, event.message) for event in decision.events)
        if not decision.events:
            return
        subject = Subject("Service", service.namespace, service.name, service.uid)
        for event in decision.events:
            if (event.reason, event.message) not in told or event.reason == "IPAllocated":
                await self._writer.event(subject, event.kind, event.reason, event.message)

    async def _own_secret(self) -> None:
        """Once MetalLB's namespace is there, a key for the heartbeats, used until the user makes
        ``memberlist``.
        """
        if self._secret_done or self._namespace not in self._labels:
            return
        key = base64.b64encode(base64.b64encode(secrets.token_bytes(96))).decode()
        try:
            if await self._writer.create_secret(self._namespace, OWN_SECRET, {"secretkey": key}):
                log.info("made Secret %s/%s", self._namespace, OWN_SECRET)
        except WriteError as error:
            log.warning("no Secret for heartbeats: %s", error)
            self._secret_done = error.code == 403  # not allowed: the user makes it; all else is tried again
        else:
            self._secret_done = True


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="loadbalancer-controller", description=__doc__)
    parser.add_argument("--kubeconfig", default="", help="file; empty: the pod's service account")
    parser.add_argument("--namespace", default="metallb-system", help="where the configuration is")
    parser.add_argument("--lb-class", default=None, help="serve Services of this loadBalancerClass only")
    parser.add_argument("--host", default="127.0.0.1", help="address of /healthz and /metrics")
    parser.add_argument("--port", type=int, default=health.PORT, help="port of /healthz and /metrics")
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace) -> None:
    access = kubeconfig.load(options.kubeconfig)
    server, writer = Server(access), Writer(access, "metallb-controller")
    controller = Controller(writer, options.namespace, options.lb_class)
    runner = await health.serve(options.host, options.port, controller.missing, controller.metrics.registry)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(follow.run()) for follow in controller.watches(server)]
    tasks += [asyncio.create_task(controller.run()), asyncio.create_task(_until(stop))]
    try:
        # The first to end is the stop, or an error nobody expected, which must end the process.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        await server.close()
        await writer.close()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the controller until TERM or INT; exit status 3 where the API server's address is not usable."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(_arguments(argv)))
    except kubeconfig.KubeconfigError as error:
        log.error("%s", error)
        return 3
    return 0
