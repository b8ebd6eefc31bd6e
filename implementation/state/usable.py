"""Which endpoints of a Service port take new connections."""

from __future__ import annotations

from collections.abc import Sequence

from implementation.state.desired import Endpoint


def ready(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints that are ready. Ready implies not terminating (the slice controller says so)."""
    return tuple(e for e in endpoints if e.ready)


def draining(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Endpoints about to end that still serve: the last resort when none is ready (KEP-1669)."""
    return tuple(e for e in endpoints if not e.ready and e.serving and e.terminating)


def usable(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Ready endpoints, else those draining, else none; an unready endpoint is never used."""
    return ready(endpoints) or draining(endpoints)
