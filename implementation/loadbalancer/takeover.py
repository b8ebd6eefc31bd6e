"""Who has an address: claims, and what to do about each. Pure; time is handed in.

An owner claims its addresses in its heartbeats, each with a *term* that grows whenever the address changes
hands. Of two claims the higher term wins, and between equal terms the better candidate; the loser yields at
once and the winner announces anew. An owner that is lost is followed by the candidates in their order, each
waiting a little longer and giving way when it hears a claim. A better candidate that comes (back) waits
``hold_down`` before it takes over, and an owner that leaves serves on until its successor has claimed: no
client loses a packet by either.

When all peers are gone and nothing at all is received, it is probably us who are cut off. The addresses are
then taken all the same (availability before consistency, as MetalLB), but without raising the term: what
those who stayed together decided stands when the cut heals.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from implementation.loadbalancer.membership import Pace, Peer


class Vip(msgspec.Struct, frozen=True):
    """An address to announce, and its candidates, best first; ``key`` is what the order was made from."""

    address: str
    key: str
    order: tuple[str, ...]


class Announce(msgspec.Struct, frozen=True):
    """The address is ours now: answer for it and tell everybody."""

    address: str


class Withdraw(msgspec.Struct, frozen=True):
    """The address is no longer ours."""

    address: str


class Repeat(msgspec.Struct, frozen=True):
    """The address is ours still, but somebody may believe otherwise: tell everybody anew."""

    address: str


Act = Announce | Withdraw | Repeat


class _Claimable:
    """What we know of one address."""

    def __init__(self, now: float) -> None:
        self.mine: int | None = None  # term of our own claim
        self.term = 0  # highest ever seen
        self.ownerless_since: float | None = now
        self.preferred_since: float | None = None
        self.contested = False
        self.handing_over_since: float | None = None


class Takeover:
    """The claims of this node. ``active`` false (at start, without a link) means: claim nothing."""

    def __init__(self, me: str, pace: Pace) -> None:
        self._me, self._pace = me, pace
        self._vips: dict[str, Vip] = {}
        self._known: dict[str, _Claimable] = {}
        self.active = False
        self.leaving = False

    @property
    def claims(self) -> dict[str, int]:
        """Our addresses with their terms."""
        return {address: known.mine for address, known in self._known.items() if known.mine is not None}

    def configure(self, vips: Mapping[str, Vip], now: float) -> list[Act]:
        """Make these the addresses that may be claimed. One that is gone is withdrawn at once."""
        self._vips = dict(vips)
        acts: list[Act] = []
        for address in [a for a in self._known if a not in vips]:
            if self._known.pop(address).mine is not None:
                acts.append(Withdraw(address))
        for address in vips:
            self._known.setdefault(address, _Claimable(now))
        return acts

    def drop_all(self, now: float) -> list[Act]:
        """Give up every claim without waiting for a successor (the link is down, or we were stopped for
        long).
        """
        acts: list[Act] = []
        for address, known in self._known.items():
            if known.mine is not None:
                known.mine, known.ownerless_since = None, now
                acts.append(Withdraw(address))
            known.preferred_since = None
        return acts

    def static(self) -> list[Act]:
        """Without membership (no key): the first candidate has the address, whether it lives or not."""
        acts: list[Act] = []
        for address, vip in self._vips.items():
            known, first = self._known[address], vip.order[:1] == (self._me,)
            if first and known.mine is None and self.active:
                known.mine = 1
                acts.append(Announce(address))
            elif known.mine is not None and not first:
                known.mine = None
                acts.append(Withdraw(address))
        return acts

    def tick(self, peers: Mapping[str, Peer], now: float, *, cut_off: bool) -> list[Act]:
        """What to do now, given the peers and whether we look cut off."""
        living = {name: peer for name, peer in peers.items() if peer.alive}
        acts: list[Act] = []
        for address, vip in self._vips.items():
            known = self._known[address]
            rivals = {name: peer.claims[address] for name, peer in living.items() if address in peer.claims}
            known.term = max(known.term, *rivals.values()) if rivals else known.term
            if known.mine is not None:
                acts += self._own(vip, known, rivals, living, now)
            else:
                acts += self._want(vip, known, rivals, living, now, cut_off)
        return acts

    def due(self, peers: Mapping[str, Peer], now: float) -> float | None:
        """When :meth:`tick` next has something to do by time alone, or None."""
        times = []
        for address, vip in self._vips.items():
            known = self._known[address]
            if known.handing_over_since is not None:
                times.append(known.handing_over_since + self._pace.handover)
            if known.mine is None and self.active and self._me in vip.order:
                if known.preferred_since is not None:
                    times.append(known.preferred_since + self._pace.hold_down)
                if known.ownerless_since is not None:
                    living = {name: peer for name, peer in peers.items() if peer.alive}
                    times.append(known.ownerless_since + self._wait(vip, known, living))
        return min((max(now, time) for time in times), default=None)

    def _own(
        self, vip: Vip, known: _Claimable, rivals: Mapping[str, int], living: Mapping[str, Peer], now: float,
    ) -> list[Act]:
        """An address we have: keep, hand over or yield."""
        assert known.mine is not None
        ours = (known.mine, _strength(self._me, vip.key))
        if any((term, _strength(name, vip.key)) > ours for name, term in rivals.items()):
            return self._yield(vip, known)
        if rivals:
            known.contested = True
        elif known.contested:
            known.contested = False
            return [Repeat(vip.address)]
        if not self.leaving and self._me in vip.order:
            known.handing_over_since = None
            return []
        if not any(living[name].ready for name in vip.order if name in living):
            return self._yield(vip, known)
        if known.handing_over_since is None:
            known.handing_over_since = now
        return self._yield(vip, known) if now - known.handing_over_since >= self._pace.handover else []

    def _yield(self, vip: Vip, known: _Claimable) -> list[Act]:
        known.mine = known.handing_over_since = known.preferred_since = known.ownerless_since = None
        known.contested = False
        return [Withdraw(vip.address)]

    def _want(
        self, vip: Vip, known: _Claimable, rivals: Mapping[str, int], living: Mapping[str, Peer], now: float,
        cut_off: bool,
    ) -> list[Act]:
        """An address we have not: take it when its owner is lost, leaves, or has been second to us for
        long.
        """
        if not self.active or self.leaving or self._me not in vip.order:
            known.preferred_since = known.ownerless_since = None
            return []
        staying = [name for name in rivals if name in vip.order and not living[name].leaving]
        if staying:
            known.ownerless_since = None
            return self._take_back(vip, known, staying, living, now)
        known.preferred_since = None
        if known.ownerless_since is None:
            known.ownerless_since = now
        if now - known.ownerless_since < self._wait(vip, known, living):
            return []
        return self._claim(vip, known, raise_term=not cut_off)

    def _take_back(
        self, vip: Vip, known: _Claimable, owners: list[str], living: Mapping[str, Peer], now: float,
    ) -> list[Act]:
        better = vip.order.index(self._me) < min(vip.order.index(name) for name in owners)
        if not better or self._before_us(vip, living):
            known.preferred_since = None
            return []
        if known.preferred_since is None:
            known.preferred_since = now
        if now - known.preferred_since < self._pace.hold_down:
            return []
        return self._claim(vip, known, raise_term=True)

    def _claim(self, vip: Vip, known: _Claimable, *, raise_term: bool) -> list[Act]:
        known.mine = known.term = max(1, known.term + raise_term)
        known.preferred_since = known.ownerless_since = known.handing_over_since = None
        return [Announce(vip.address)]

    def _before_us(self, vip: Vip, living: Mapping[str, Peer]) -> int:
        """How many candidates that can act stand before us."""
        before = vip.order[:vip.order.index(self._me)]
        return sum(name in living and living[name].ready and not living[name].leaving for name in before)

    def _wait(self, vip: Vip, known: _Claimable, living: Mapping[str, Peer]) -> float:
        """Seconds to leave to those before us. Of a new address, those that still listen may be first too."""
        if known.term:
            return self._before_us(vip, living) * self._pace.stagger
        before = vip.order[:vip.order.index(self._me)]
        return sum(name in living for name in before) * self._pace.fresh_stagger


def _strength(node: str, key: str) -> bytes:
    """Orders nodes as the election does, greater is better; independent of anybody's view of the
    candidates.
    """
    return bytes(255 - byte for byte in sha256(f"{node}#{key}".encode()).digest())
