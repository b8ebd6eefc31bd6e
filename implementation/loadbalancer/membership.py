"""Which speakers live: from heartbeats, and by asking before a silent one is given up. Pure; time is handed
in.

A peer silent for three intervals is *suspected*. Then, within 20 ms, its node is asked by ARP (a kernel
answers even when every process is dead or stopped) and other speakers are asked whether they still hear it.
Nobody hears it and the node is silent: it is dead, act now. The node answers: only its speaker is gone,
traffic still flows through it, so there is time to wait ten intervals and to ask all. Somebody hears it:
the trouble lies between it and us.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

import msgspec

from implementation.loadbalancer.heartbeat import part_of

ASKED = 3  # peers asked at first, as SWIM's indirect probes


class Pace(msgspec.Struct, frozen=True):
    """All durations in seconds, all counts in intervals; one place, so that profiles can be offered."""

    interval: float = 0.1
    silent: int = 3  # intervals of silence before a peer is suspected
    process: int = 10  # intervals before a silent speaker on a living node is given up
    probes: int = 3
    probe_gap: float = 0.005
    budget: float = 0.020
    listen: float = 0.35  # at start, before the first claim
    stagger: float = 0.015  # between candidates when an owner is lost
    fresh_stagger: float = 0.25  # of an address nobody had: the API reaches all in that time
    hold_down: float = 10.0  # before a better candidate takes an address back
    handover: float = 1.0  # the longest time an owner waits for its successor


class State(Enum):
    """What is known of a peer."""

    UNKNOWN = "never heard"
    ALIVE = "heard"
    SUSPECT = "silent, being asked about"
    DEAD = "given up"


class Probe(msgspec.Struct, frozen=True):
    """Ask the node at ``address`` by ARP."""

    address: str


class Ask(msgspec.Struct, frozen=True):
    """Ask speaker ``peer`` when it last heard ``subject``."""

    peer: str
    subject: str


class Peer:
    """One other speaker."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.state = State.UNKNOWN
        self.heard = 0.0
        self.ready = False
        self.leaving = False
        self.claims: dict[str, int] = {}
        self._told_at: dict[tuple[int, int], int] = {}
        # the round of questions that runs, if any
        self.round: float | None = None
        self.next_round = 0.0
        self.probed = 0
        self.node_answered = False
        self.unanswered = False  # the last round brought no answer of anybody
        self.asked: tuple[str, ...] = ()
        self.told: dict[str, float] = {}

    @property
    def alive(self) -> bool:
        """Whether it is believed to live; a suspect is, until it is proven otherwise."""
        return self.state in (State.ALIVE, State.SUSPECT)

    def take_claims(
        self, part: int, parts: int, claims: Iterable[tuple[str, int]], sequence: int = 0,
    ) -> None:
        """Take one part of its claims: of the addresses that belong into this part it has exactly these.

        What was overtaken by a newer telling of the same part is dropped.
        """
        if sequence < self._told_at.get((part, parts), 0):
            return
        self._told_at[part, parts] = sequence
        kept = {a: term for a, term in self.claims.items() if parts > 1 and part_of(a, parts) != part}
        self.claims = {**kept, **dict(claims)}

    def forget(self) -> None:
        """It has gone: what it said no longer holds."""
        self.claims, self._told_at = {}, {}
        self.ready = self.leaving = False
        self.round = None


class Membership:
    """All peers, and what is to be asked about them."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.peers: dict[str, Peer] = {}

    def configure(self, addresses: Mapping[str, str]) -> None:
        """Make these the peers (name to node address); one whose address changed starts anew."""
        for name in [n for n, peer in self.peers.items() if addresses.get(n) != peer.address]:
            del self.peers[name]
        for name, address in addresses.items():
            self.peers.setdefault(name, Peer(name, address))

    def heard(self, name: str, now: float) -> bool:
        """A fresh sign of life; whether the peer was not known to live before."""
        peer = self.peers[name]
        returned = not peer.alive
        peer.state, peer.heard, peer.round, peer.unanswered = State.ALIVE, now, None, False
        return returned

    def gone(self, name: str) -> None:
        """The peer itself said that it ends."""
        peer = self.peers[name]
        peer.state = State.DEAD
        peer.forget()

    def node_answered(self, address: str) -> None:
        """A node answered by ARP."""
        for peer in self.peers.values():
            if peer.address == address:
                peer.node_answered = True

    def told(self, by: str, subject: str, age: float) -> None:
        """A peer said how long ago (seconds) it heard the subject."""
        if subject in self.peers:
            self.peers[subject].told[by] = age

    def forgive(self, seconds: float, now: float) -> None:
        """We ourselves did not run for so long: no peer is blamed for that silence."""
        for peer in self.peers.values():
            peer.heard = min(now, peer.heard + seconds)
            if peer.round is not None:
                peer.round = None
                peer.next_round = now

    def tick(self, now: float) -> tuple[list[Probe | Ask], list[str]]:
        """What to ask now, and the names of the peers given up at this moment."""
        out: list[Probe | Ask] = []
        died = []
        for peer in self.peers.values():
            if peer.state is State.ALIVE and now - peer.heard >= self._pace.interval * self._pace.silent:
                peer.state, peer.next_round = State.SUSPECT, now
            if peer.state is not State.SUSPECT:
                continue
            if peer.round is None and now >= peer.next_round:
                out += self._open(peer, now)
            if peer.round is not None:
                out += self._probes(peer, now)
                if self._decided(peer, now):
                    died.append(peer.name)
        return out, died

    def due(self) -> float | None:
        """When :meth:`tick` next has something to do, or None."""
        times = []
        for peer in self.peers.values():
            if peer.state is State.ALIVE:
                times.append(peer.heard + self._pace.interval * self._pace.silent)
            elif peer.state is State.SUSPECT and peer.round is None:
                times.append(peer.next_round)
            elif peer.state is State.SUSPECT and peer.round is not None:
                more = peer.probed < self._pace.probes
                times.append(peer.round + (peer.probed * self._pace.probe_gap if more else self._pace.budget))
        return min(times, default=None)

    def _open(self, peer: Peer, now: float) -> list[Probe | Ask]:
        peer.round, peer.probed, peer.node_answered, peer.told = now, 0, False, {}
        others = [other.name for other in self.peers.values() if other.state is State.ALIVE]
        patience_over = now - peer.heard >= self._pace.interval * self._pace.process
        peer.asked = tuple(others if patience_over else others[:ASKED])
        return [Ask(other, peer.name) for other in peer.asked]

    def _probes(self, peer: Peer, now: float) -> list[Probe | Ask]:
        out: list[Probe | Ask] = []
        while peer.probed < self._pace.probes and now >= _at(peer) + peer.probed * self._pace.probe_gap:
            out.append(Probe(peer.address))
            peer.probed += 1
        return out

    def _decided(self, peer: Peer, now: float) -> bool:
        """Close the round when it is over; whether the peer is dead."""
        pace = self._pace
        # All answers in and the last probe had its time: no reason to use up the budget.
        complete = set(peer.asked) <= peer.told.keys()
        if now < _at(peer) + (pace.probes * pace.probe_gap if complete else pace.budget):
            return False
        peer.round, peer.next_round = None, now + pace.interval
        if any(age < 2 * pace.interval for age in peer.told.values()):
            return False
        if peer.node_answered and now - peer.heard < pace.interval * pace.process:
            return False
        if peer.asked and not peer.told and not peer.unanswered:
            peer.unanswered, peer.next_round = True, now  # a datagram may have been lost: ask once more
            return False
        peer.state = State.DEAD
        peer.forget()
        return True


def _at(peer: Peer) -> float:
    return peer.round if peer.round is not None else 0.0
