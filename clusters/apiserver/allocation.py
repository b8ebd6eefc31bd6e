"""The pools of Service addresses and node ports: who has which number, and which one comes next. Pure.

Bands, preference and words are those of Kubernetes 1.36 (``ipallocator``, ``portallocator``): numbers nobody
asked for come from the upper band first, so that the lower band stays free for those who ask (KEP-3070,
KEP-3668).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RANGE_FULL = "range is full"
IP_ALLOCATED = "provided IP is already allocated"
IP_ELSEWHERE = "the provided network does not match the current range"
PORT_ALLOCATED = "provided port is already allocated"


class Full(Exception):
    """No number is free."""


class Taken(Exception):
    """The number asked for cannot be given; the text says why, in Kubernetes' words."""


class Pool:
    """Whole numbers from ``first`` to ``last``; ``band`` of them, from below, are given only when asked for.

    ``kept`` are numbers promised to somebody: never given unasked.
    """

    def __init__(
        self, first: int, last: int, band: int, rng: random.Random, kept: Iterable[int] = ()
    ) -> None:
        self.first, self.last, self.band = first, last, band
        self.more: dict[str, list[tuple[int, int, int]]] = {}  # other ranges by name: first, last, band
        self.taken: set[int] = set()
        self.kept = frozenset(kept)
        self._rng = rng

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last or any(
            first <= number <= last for spans in self.more.values() for first, last, _ in spans
        )

    def take(self, number: int) -> bool:
        """Takes one number; False when it is taken already."""
        if number in self.taken:
            return False
        self.taken.add(number)
        return True

    def release(self, number: int) -> None:
        """Gives a number back; one that was never taken is no error."""
        self.taken.discard(number)

    def next(self) -> int:
        """Takes a free number, from the upper band if there is one. Full: none is left."""
        spans = [(self.first, self.last, self.band), *(span for each in self.more.values() for span in each)]
        above = [(first + band, last) for first, last, band in spans]
        for low, high in above + [(first, first + band - 1) for first, _, band in spans]:
            number = self._free(low, high)
            if number is not None:
                self.taken.add(number)
                return number
        raise Full(RANGE_FULL)

    def _free(self, low: int, high: int) -> int | None:
        size = high - low + 1
        if size <= 0:
            return None
        start = self._rng.randrange(size)
        for step in range(min(size, len(self.taken) + len(self.kept) + 1)):
            number = low + (start + step) % size
            if number not in self.taken and number not in self.kept:
                return number
        return None


def address_pool(network: Network, rng: random.Random, kept: Iterable[str] = ()) -> Pool:
    """The Service addresses of a network: without its own and (IPv4) the broadcast address."""
    first, last, band = address_span(network)
    numbers = (int(ip) for ip in map(ipaddress.ip_address, kept) if ip in network)
    return Pool(first, last, band, rng, numbers)


def address_span(network: Network) -> tuple[int, int, int]:
    """The first and last Service address of a network, and how many, from below, only who asks gets."""
    first = int(network.network_address) + 1
    last = int(network.broadcast_address) - (network.version == 4)
    return first, last, _band(network.num_addresses, step=16, lowest=16, highest=256)


def port_pool(first: int, last: int, rng: random.Random, kept: Iterable[int] = ()) -> Pool:
    """The node ports of a range, both ends included."""
    return Pool(first, last, _band(last - first + 1, step=32, lowest=16, highest=128), rng, kept)


def _band(size: int, step: int, lowest: int, highest: int) -> int:
    return 0 if size <= lowest else max(lowest, min(size // step, highest))


class Transaction:
    """Numbers taken and to be released for one request: all of it happens, or none of it.

    Nothing is taken in a dry run; then ``Pool`` is only asked. Use: take…, then ``commit`` or ``revert``.
    """

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.pretended: list[int] = []  # ports a dry run would have taken
        self._taken: list[tuple[Pool, int]] = []
        self._release: list[tuple[Pool, int]] = []

    def note_taken(self, pool: Pool, number: int) -> None:
        """Remembers a number taken, so that ``revert`` gives it back."""
        self._taken.append((pool, number))

    def release_later(self, pool: Pool, number: int) -> None:
        """Remembers a number to give back when the request succeeds."""
        self._release.append((pool, number))

    def commit(self) -> None:
        """The request succeeded: numbers no longer used go back."""
        if not self.dry_run:
            for pool, number in self._release:
                pool.release(number)

    def revert(self) -> None:
        """The request failed: numbers taken for it go back."""
        for pool, number in self._taken:
            pool.release(number)
