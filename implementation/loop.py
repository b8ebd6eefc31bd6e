"""When to act: gathers changes, has them decided and applied, retries as a whole. Knows time, knows no rule.

While one apply runs, further changes gather and go into the next one: bursts cost few applies without any
waiting of our own. A failed apply is tried again whole. Somebody else's flush is noticed by looking at the
canaries.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from implementation.dataplane import Applied, Dataplane, DataplaneError, Preparing
from implementation.node.health import Health
from implementation.state.desired import Desired, ServedService, ServiceKey
from implementation.state.known import Known

log = logging.getLogger("kube-proxy.loop")
DISTURBED = "somebody removed or changed rules of ours: writing what is missing"


class Pace(msgspec.Struct, frozen=True):
    """Times in seconds: between two applies at least, between looks at the canaries, after a failure, full
    anyway."""

    shortest: float = 0.0
    look: float = 5.0
    retry_first: float = 0.2
    retry_longest: float = 30.0
    full: float = 3600.0


class Synced(msgspec.Struct, frozen=True):
    """What one successful sync was about."""

    desired: Desired
    applied: Applied
    seconds: float
    triggers: tuple[str, ...]


class Loop:
    """Keeps the data plane as the API wants it."""

    def __init__(
        self,
        known: Known,
        dataplane: Dataplane,
        health: Health,
        pace: Pace,
        after: Callable[[Synced], Awaitable[None]],
        failed: Callable[[bool], None] = lambda _partial: None,
        addresses: Callable[[], tuple[str, ...] | None] = lambda: None,
        needs: Iterable[str] = ("services", "endpointslices"),
    ) -> None:
        """``needs`` are the kinds that must be known as a whole before anything is written."""
        self._known, self._dataplane, self._health, self._pace = known, dataplane, health, pace
        self._after, self._failed, self._addresses = after, failed, addresses
        self._wake = asyncio.Event()
        self._waiting = set(needs)
        self._failures = 0
        self._last_full = 0.0
        self._disturbed = False

    def changed(self) -> None:
        """Something that may concern us was seen."""
        self._health.eligible = self._known.eligible
        if not self._waiting and (self._known.changed or self._failures):
            self._health.queued(time.monotonic())
            self._wake.set()

    def listed(self, kind: str, *, whole: bool = True) -> None:
        """A part of one kind is known, or the ``whole`` of it. Nothing is written before everything needed
        is; what can be decided is decided while the rest still comes."""
        if self._waiting == {kind}:
            self._prepare(self._known.decide())
        if not whole and self._waiting:
            return
        if kind in self._waiting:
            self._waiting.remove(kind)
            if not self._waiting:
                self._health.queued(time.monotonic())
                self._wake.set()
        else:
            self.changed()

    def _prepare(self, services: Mapping[ServiceKey, ServedService]) -> None:
        if isinstance(self._dataplane, Preparing):
            try:
                self._dataplane.prepare(services)
            except DataplaneError as error:
                log.warning("nothing can be prepared, the first apply will do all: %s", error)

    def noticed(self) -> None:
        """Somebody changed the kernel's tables: see at once whether it was ours."""
        if not self._dataplane.intact():
            self._disturbed = True
            if not self._waiting:
                self._wake.set()

    async def run(self) -> None:
        """Act until cancelled."""
        while True:
            await self._until_needed()
            await self._sync()
            if self._pace.shortest:
                await asyncio.sleep(self._pace.shortest)

    async def _until_needed(self) -> None:
        """Wait for a change, or until the canaries say that somebody removed our rules."""
        while not self._wake.is_set():
            try:
                await asyncio.wait_for(self._wake.wait(), self._pace.look)
            except TimeoutError:
                await self._look()
        self._wake.clear()
        if self._disturbed:
            self._disturbed = False
            log.warning(DISTURBED)
            self._dataplane.forget()

    async def _look(self) -> None:
        if self._health.updated is None or self._failures:
            return
        if time.monotonic() - self._last_full > self._pace.full:
            self._dataplane.forget()
            self._wake.set()
            return
        try:
            intact = await asyncio.to_thread(self._dataplane.intact)
        except DataplaneError as error:
            log.warning("cannot look whether our rules are still there: %s", error)
            return
        if not intact:
            log.warning(DISTURBED)
            self._dataplane.forget()
            self._wake.set()

    async def _sync(self) -> None:
        """One attempt to bring everything known into force."""
        desired = self._known.desired(self._addresses())
        triggers, self._known.triggers = tuple(self._known.triggers), []
        complaints, self._known.complaints = self._known.complaints, []
        for sentence in complaints:
            log.warning("%s", sentence)
        start = time.monotonic()
        try:
            applied = await asyncio.to_thread(self._dataplane.apply, desired)
        except DataplaneError as error:
            self._known.triggers = [*triggers, *self._known.triggers]
            self._retry_later(error)
            return
        self._failures = 0
        end = time.monotonic()
        if applied.full:
            self._last_full = end
        if not self._known.changed:
            self._health.done(end)
        await self._after(Synced(desired, applied, end - start, triggers))

    def _retry_later(self, error: DataplaneError) -> None:
        self._dataplane.forget()
        self._failed(self._failures == 0 and self._health.updated is not None)
        self._failures += 1
        wait = min(self._pace.retry_longest, self._pace.retry_first * 2 ** min(self._failures - 1, 10))
        log.error("rules could not be written, all of them again in %.1f s: %s", wait, error)
        self._health.queued(time.monotonic())
        asyncio.get_running_loop().call_later(wait, self._wake.set)
