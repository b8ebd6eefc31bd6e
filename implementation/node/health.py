"""Is this proxy well, and may load balancers send to this node? Values and answers; ``server`` puts them on
ports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from implementation.state.desired import HealthCheck


class Health:
    """Keeps when changes came and when they were in force. Times are seconds of one clock given by the
    caller.

    Well means: the first sync has succeeded, and no change waits longer than ``patience`` seconds (twice
    the sync period, upstream's rule).
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.eligible = True
        self.updated: float | None = None  # end of the last successful sync
        self._waiting_since: float | None = None

    def queued(self, now: float) -> None:
        """A change came that is not in force yet."""
        if self._waiting_since is None:
            self._waiting_since = now

    def done(self, now: float) -> None:
        """Everything known is in force."""
        self._waiting_since, self.updated = None, now

    def well(self, now: float) -> bool:
        """True when the proxy does its work."""
        waiting = self._waiting_since
        return self.updated is not None and (waiting is None or now - waiting < self.patience)


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer as JSON."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = {}


def healthz(health: Health, now: float) -> Answer:
    """Upstream's /healthz: 503 as well when the node is about to go, so that load balancers drain it."""
    well = health.well(now)
    body = {**_times(health, now), "nodeEligible": health.eligible}
    return Answer(200 if well and health.eligible else 503, body)


def livez(health: Health, now: float) -> Answer:
    """Upstream's /livez: the same without regard to the node."""
    return Answer(200 if health.well(now) else 503, _times(health, now))


def service_health(check: HealthCheck, health: Health, now: float) -> Answer:
    """What a healthCheckNodePort answers: 200 when this node has ready endpoints and its proxy is well."""
    well = health.well(now)
    return Answer(
        200 if check.local_endpoints and well else 503,
        {
            "service": {"namespace": check.namespace, "name": check.name},
            "localEndpoints": check.local_endpoints,
            "serviceProxyHealthy": well,
        },
        {"X-Load-Balancing-Endpoint-Weight": str(check.local_endpoints)},
    )


def _times(health: Health, now: float) -> dict[str, str]:
    current = datetime.now(UTC)
    late = 0.0 if health.well(now) or health.updated is None else now - health.updated
    updated = current.timestamp() - late
    if health.updated is None:
        return {"lastUpdated": "0001-01-01T00:00:00Z", "currentTime": _iso(current)}
    return {"lastUpdated": _iso(datetime.fromtimestamp(updated, UTC)), "currentTime": _iso(current)}


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
