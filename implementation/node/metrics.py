"""Numbers for Prometheus, under upstream's names and with its buckets (facts of upstream, §6).

Imported only after the first rules are in the kernel: the library takes longer to load than the rules to
write.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from implementation.dataplane import Applied
from implementation.state.desired import Desired, Way

SYNC_BUCKETS = [0.001 * 2**k for k in range(15)]
PROGRAMMING_BUCKETS = [0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30)]
FAMILY = {4: "IPv4", 6: "IPv6"}


class Metrics:
    """The proxy's numbers. Those of other modes are absent, as upstream's are."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        disable_created_metrics()  # type: ignore[no-untyped-call]  # upstream has none of those series
        self.registry = CollectorRegistry()
        self._desired, self._families = Desired({}), list[int]()
        self._sync = self._histogram("sync_proxy_rules_duration_seconds", "Whole sync", SYNC_BUCKETS)
        self._full = self._histogram("sync_full_proxy_rules_duration_seconds", "Full sync", SYNC_BUCKETS)
        self._partial = self._histogram(
            "sync_partial_proxy_rules_duration_seconds", "Partial sync", SYNC_BUCKETS
        )
        self._programming = self._histogram(
            "network_programming_duration_seconds",
            "Endpoint change to rules in force",
            PROGRAMMING_BUCKETS,
        )
        self._last = self._gauge("sync_proxy_rules_last_timestamp_seconds", "Last successful sync")
        self._queued = self._gauge("sync_proxy_rules_last_queued_timestamp_seconds", "Last sync asked for")
        self._changes = {
            kind: (
                self._counter(f"sync_proxy_rules_{kind}_changes", f"Changes of {kind}s"),
                self._gauge(f"sync_proxy_rules_{kind}_changes_pending", f"Those of {kind}s not yet in force"),
            )
            for kind in ("service", "endpoint")
        }
        self._of_mode(mode)
        self._no_local = self._gauge(
            "sync_proxy_rules_no_local_endpoints",
            "Services without endpoints here",
            "traffic_policy",
        )
        self._counted: dict[str, int] = {}
        self._looking = self._histogram(
            "conntrack_reconciler_sync_duration_seconds", "Looking for stale UDP flows", SYNC_BUCKETS
        )
        self._ended = self._counter("conntrack_reconciler_deleted_entries", "Kinds of UDP flows ended")
        self.healthz = Counter("kubeproxy_proxy_healthz", "Answers", ["code"], registry=self.registry)
        self.livez = Counter("kubeproxy_proxy_livez", "Answers", ["code"], registry=self.registry)

    def _of_mode(self, mode: str) -> None:
        """What only one mode counts."""
        self._tables: tuple[Gauge, ...] = ()
        self._partial_failures: Counter | None = None
        if mode == "iptables":
            rules = "sync_proxy_rules_iptables"
            self._tables = (
                self._gauge(f"{rules}_total", "Rules owned", "table"),
                self._gauge(f"{rules}_last", "Rules written in the last sync", "table"),
            )
            self._failures = self._counter(f"{rules}_restore_failures", "Failed writes")
            self._partial_failures = self._counter(
                f"{rules}_partial_restore_failures", "Failed partial writes"
            )
        else:
            self._failures = self._counter(f"sync_proxy_rules_{mode}_sync_failures", "Failed writes")
            self._failures.labels("IPv4")  # zero is told from the start

    def _histogram(self, name: str, about: str, buckets: list[float]) -> Histogram:
        return Histogram(f"kubeproxy_{name}", about, ["ip_family"], buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"kubeproxy_{name}", about, ["ip_family", *labels], registry=self.registry)

    def _counter(self, name: str, about: str) -> Counter:
        return Counter(f"kubeproxy_{name}", about, ["ip_family"], registry=self.registry)

    def synced(self, desired: Desired, applied: Applied, queued: float) -> None:
        """A sync succeeded; ``queued`` is when it was asked for (seconds since 1970)."""
        now = time.time()
        self._desired, self._families = desired, [part.family for part in applied.parts]
        for part in applied.parts:
            family = FAMILY[part.family]
            for histogram in (self._sync, self._full if part.full else self._partial):
                histogram.labels(family).observe(part.seconds)
            self._last.labels(family).set(now)
            self._queued.labels(family).set(queued)
            for table, numbers in part.tables.items():
                for gauge, number in zip(self._tables, numbers, strict=False):
                    gauge.labels(family, table).set(number)

    def programmed(self, triggers: Iterable[str]) -> None:
        """Changes that began at these times (RFC 3339) are in force now; unreadable ones do not count."""
        for text in triggers:
            try:
                began = datetime.fromisoformat(text).timestamp()
            except ValueError:
                continue
            self._programming.labels("IPv4").observe(max(0.0, time.time() - began))

    def failed(self, *, partial: bool) -> None:
        """Writing rules failed."""
        self._failures.labels("IPv4").inc()
        if partial and self._partial_failures is not None:
            self._partial_failures.labels("IPv4").inc()

    def changed(self, kind: str, seen: int, pending: int) -> None:
        """So many changes of a kind (service, endpoint) were seen since the start, of which some still
        wait."""
        counter, gauge = self._changes[kind]
        counter.labels("IPv4").inc(seen - self._counted.get(kind, 0))
        self._counted[kind] = seen
        gauge.labels("IPv4").set(pending)

    def ended(self, flows: int, seconds: float) -> None:
        """So many kinds of stale UDP flows were ended, and so long it took to look."""
        self._ended.labels("IPv4").inc(flows)
        self._looking.labels("IPv4").observe(seconds)

    def text(self) -> bytes:
        """All numbers in Prometheus' text form. Those for which every Service must be looked at are counted
        when asked for, not with each sync."""
        for number in self._families:
            for policy, ports in no_local_endpoints(self._desired, number).items():
                self._no_local.labels(FAMILY[number], policy).set(ports)
        return generate_latest(self.registry)


def no_local_endpoints(desired: Desired, family: int) -> dict[str, int]:
    """How many Service ports are dropped on this node because a Local policy finds no endpoint here."""
    ports = [p for s in desired.services.values() for p in s.ports if p.family == family]
    return {
        "internal": sum(p.internal is Way.DROP for p in ports),
        "external": sum(p.external is Way.DROP for p in ports),
    }
