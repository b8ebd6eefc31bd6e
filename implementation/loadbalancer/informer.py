"""What the announcer of this node must know, kept up to date from the API; and what it did, recorded there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Gauge

from implementation.loadbalancer.announcer import Order, Report
from implementation.loadbalancer.elect import Endpoint
from implementation.loadbalancer.keys import OWN_SECRET, USER_SECRET, key_of
from implementation.loadbalancer.member import Desired
from implementation.loadbalancer.sources import Objects, Sources
from implementation.loadbalancer.wanted import Wanted, wanted
from implementation.objects.balanced import parse_balanced, parse_balanced_node
from implementation.objects.fields import ObjectError
from implementation.objects.slice import parse_slice
from implementation.status import Subject, Writer
from implementation.watch import Kind, Server, Watch

log = logging.getLogger("loadbalancer.speaker")

KEY_SECONDS = 5.0  # a new key is accepted at once, but used only when every speaker has had time to learn it


class Parsed:
    """Objects parsed once: what did not change is not parsed again."""

    def __init__(self, objects: Objects, parse: Callable[[msgspec.Raw], Any]) -> None:
        self._objects, self._parse = objects, parse
        self._done: dict[str, tuple[msgspec.Raw, Any]] = {}

    def values(self) -> list[Any]:
        """All objects that can be used; a sentence in the log for each new one that cannot."""
        done: dict[str, tuple[msgspec.Raw, Any]] = {}
        for key, raw in self._objects.raw.items():
            known = self._done.get(key)
            done[key] = known if known is not None and known[0] is raw else (raw, self._try(key, raw))
        self._done = done
        return [value for _, value in done.values() if value is not None]

    def _try(self, key: str, raw: msgspec.Raw) -> Any:
        try:
            return self._parse(raw)
        except ObjectError as error:
            log.warning("%s left out: %s", key, error)
            return None


class Keys:
    """Which key signs: the user's before our own; a new one only after a while (see KEY_SECONDS)."""

    def __init__(self) -> None:
        self._since: dict[bytes, float] = {}

    def order(self, user: bytes | None, own: bytes | None, now: float) -> tuple[bytes, ...]:
        """The keys to accept, the one to sign with first."""
        present = [key for key in (user, own) if key is not None]
        first = not self._since
        for key in present:
            self._since.setdefault(key, now - (KEY_SECONDS if first else 0))
        settled = [key for key in present if now - self._since[key] >= KEY_SECONDS]
        signing = (settled or present)[:1]
        return (*signing, *(key for key in present if key not in signing))


class Informer:
    """Keeps the announcer informed."""

    def __init__(self, options: argparse.Namespace, writer: Writer, orders: int) -> None:
        self._node, self._options = options.node_name, options
        self._writer, self._orders = writer, orders
        self._wake = asyncio.Event()
        touched = self._touched
        self._sources = Sources(options.namespace, self._wake.set)
        self._services = Objects(touched, self._wake.set)
        self._slices = Objects(touched, self._wake.set)
        self._nodes = Objects(touched, self._wake.set)
        self._user_secret = Objects(touched, self._wake.set)
        self._own_secret = Objects(touched, self._wake.set)
        self._parsed_services = Parsed(self._services, parse_balanced)
        self._parsed_slices = Parsed(self._slices, parse_slice)
        self._parsed_nodes = Parsed(self._nodes, parse_balanced_node)
        self._keys = Keys()
        self._wanted = Wanted()
        self._sent: Order | None = None
        self._owned: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._hello = False
        self.left = asyncio.Event()
        self._notes: set[asyncio.Task[None]] = set()
        self.registry = CollectorRegistry()
        self._announced = Gauge("metallb_speaker_announced", "Services announced from this node",
                                ["service", "protocol", "node", "ip"], registry=self.registry)

    def _touched(self, _key: str) -> None:
        self._wake.set()

    def watches(self, server: Server) -> list[Watch]:
        """Everything to be followed."""
        secrets = f"/api/v1/namespaces/{self._options.namespace}/secrets"
        return [
            *self._sources.watches(server),
            self._services.watch(server, Kind("services", "/api/v1/services")),
            self._slices.watch(server, Kind("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices")),
            self._nodes.watch(server, Kind("nodes", "/api/v1/nodes")),
            self._user_secret.watch(server, Kind("secrets", secrets, "", f"metadata.name={USER_SECRET}")),
            self._own_secret.watch(server, Kind("secrets", secrets, "", f"metadata.name={OWN_SECRET}")),
        ]

    def missing(self) -> str:
        """What is not known yet, in a sentence; empty once the node can announce."""
        if not self._hello:
            return "the announcer has not started yet"
        kinds = (self._services, self._slices, self._nodes, self._user_secret, self._own_secret)
        if not all(objects.synced for objects in kinds):
            return "the lists of Services, EndpointSlices, Nodes and Secrets are not complete yet"
        known = self._sources.config is not None or self._sources.problem
        return "" if known else "no configuration was read yet"

    async def run(self) -> None:
        """Keep the announcer informed until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 1.0)
            # A new key comes into use by time alone; nothing else is looked at without a change.
            changed = self._wake.is_set() or (
                self._sent is not None and self._sent.desired is not None
                and self._sent.desired.keys != self._key_order())
            self._wake.clear()
            if changed and not self.missing() and self._sources.config is not None:
                self._send()

    def _send(self, *, again: bool = False) -> None:
        self._wanted = self._decide()
        desired = Desired(peers=self._peers(), vips=dict(self._wanted.vips), keys=self._key_order())
        order = Order(desired=desired, mute=tuple(sorted(self._wanted.mute)))
        if again or order != self._sent:
            self._sent = order
            self._order(order)
        self._note()

    def _decide(self) -> Wanted:
        endpoints: dict[str, list[Endpoint]] = {}
        for found in self._parsed_slices.values():
            known = endpoints.setdefault(f"{found.namespace}/{found.service}", [])
            known += [Endpoint(one.node, one.ready or one.serving) for one in found.endpoints]
        config = self._sources.config
        assert config is not None
        return wanted(self._parsed_services.values(), endpoints, self._parsed_nodes.values(), config,
                      interface=self._options.interface, load_balancer_class=self._options.lb_class)

    def _peers(self) -> dict[str, str]:
        return {node.name: node.address for node in self._parsed_nodes.values()
                if node.name != self._node and node.address}

    def _key_order(self) -> tuple[bytes, ...]:
        user, own = (next((key_of(raw) for raw in secret.raw.values()), None)
                     for secret in (self._user_secret, self._own_secret))
        return self._keys.order(user, own, time.monotonic())

    def _order(self, order: Order) -> None:
        """Write a whole line; the announcer reads within milliseconds, so this never waits long."""
        line = msgspec.json.encode(order) + b"\n"
        while line:
            line = line[os.write(self._orders, line):]

    def leave(self) -> None:
        """Have the announcer hand over and end."""
        with contextlib.suppress(BrokenPipeError):
            self._order(Order(leave=True))

    def reported(self, report: Report) -> None:
        """Take a line of the announcer."""
        if report.hello:
            self._hello = True
            self._owned.clear()
            if self._sent is not None:
                self._send(again=True)
            self._wake.set()
        elif report.announced:
            self._owned.add(report.announced)
            log.info("announcing %s", report.announced)
        elif report.withdrawn:
            self._owned.discard(report.withdrawn)
            log.info("no longer announcing %s", report.withdrawn)
        elif report.left:
            self.left.set()
        self._note()

    def _note(self) -> None:
        """Tell of each service, once, that this node announces it; keep the metric."""
        now: set[tuple[str, str]] = set()
        self._announced.clear()
        for address in self._owned:
            for service in self._wanted.services.get(address, ()):
                now.add((service.key, address))
                self._announced.labels(service.key, "layer2", self._node, address).set(1)
                if (service.key, address) not in self._told:
                    self._event(Subject("Service", service.namespace, service.name, service.uid),
                                muted=address in self._wanted.mute)
        self._told = now

    def _event(self, subject: Subject, *, muted: bool) -> None:
        kind, reason, message = (
            "Normal", "nodeAssigned", f'announcing from node "{self._node}" with protocol "layer2"')
        if muted:
            kind, reason = "Warning", "announceFailed"
            message = (f"interface {self._options.interface} of the assigned node {self._node} is in none of "
                       "the advertisements' lists")
        task = asyncio.create_task(self._writer.event(subject, kind, reason, message))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)
