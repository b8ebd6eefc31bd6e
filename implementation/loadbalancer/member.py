"""One speaker among others: heartbeats, membership and claims put together. Pure: bytes and times in,
actions out.

The same object runs under a simulated clock in the tests and under the real one in ``announcer``.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence

import msgspec

from implementation.loadbalancer.heartbeat import (
    NEVER,
    PART_CLAIMS,
    HeartbeatError,
    Kind,
    Message,
    Trust,
    decode,
    encode,
    part_of,
)
from implementation.loadbalancer.membership import Ask, Membership, Pace, Peer, Probe, State
from implementation.loadbalancer.takeover import Act, Repeat, Takeover, Vip

REPLY_GAP = 0.010  # seconds between answers to a peer that does not know our incarnation yet
FRAMES_AGE = 0.110  # how old a count of frames must be to tell that the link has gone quiet


class Send(msgspec.Struct, frozen=True):
    """Send this datagram to the speaker at ``address``."""

    address: str
    datagram: bytes


class Desired(msgspec.Struct, frozen=True):
    """What the API wants: the other speakers (name to node address), what to announce, the keys (newest
    first).
    """

    peers: dict[str, str] = {}
    vips: dict[str, Vip] = {}
    keys: tuple[bytes, ...] = ()


Action = Send | Probe | Act


class Member:
    """A speaker's whole mind. After every call, do what :meth:`actions` gives."""

    def __init__(
        self, me: str, incarnation: int, now: float, *, pace: Pace | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.me, self._incarnation, self._pace = me, incarnation, pace or Pace()
        self._chance = chance or random.Random()
        self._desired = Desired()
        self._members = Membership(self._pace)
        self._takeover = Takeover(me, self._pace)
        self._trust: dict[str, Trust] = {}
        self._replied: dict[str, float] = {}
        self._sequence = 0
        self._next_beat = now
        self._listen_until = now + self._pace.listen
        self._link = True
        self._left_by: float | None = None
        self._frames: deque[tuple[float, int]] = deque(maxlen=8)
        self._out: list[Action] = []
        self._look = True  # something changed: look at every address again
        self._look_at = now
        self._repeat_at = math.inf  # when to announce our addresses anew
        self.refused = 0  # datagrams not believed

    @property
    def claims(self) -> dict[str, int]:
        """The addresses we answer for, with their terms."""
        return self._takeover.claims

    @property
    def peers(self) -> dict[str, Peer]:
        """The other speakers by name."""
        return self._members.peers

    def actions(self) -> list[Action]:
        """What to do now; each is given once."""
        out, self._out = self._out, []
        return out

    def configure(self, desired: Desired, now: float) -> None:
        """Take what the API wants from now on."""
        new_peers = desired.peers.keys() - self._desired.peers.keys()
        self._desired = desired
        self._members.configure(desired.peers)
        self._trust = {name: self._trust.get(name, Trust()) for name in desired.peers}
        self._out += self._takeover.configure(desired.vips, now)
        self._look = True
        if new_peers:
            self._next_beat = now  # say hello at once

    def receive(self, datagram: bytes, now: float) -> None:
        """Take a datagram from the net, whatever it may be."""
        try:
            message = decode(datagram, self._desired.keys)
        except HeartbeatError:
            self.refused += 1
            return
        trust = self._trust.get(message.sender)
        if trust is None:
            self.refused += 1
            return
        known = trust.incarnation
        if not trust.fresh(message, self._incarnation):
            self.refused += 1
            self._introduce(message, now)
            return
        peer = self._members.peers[message.sender]
        if message.leaving and not peer.alive:
            return  # it has said farewell already
        before = (peer.claims, peer.ready, peer.leaving, peer.alive)
        if known != message.incarnation:
            peer.forget()  # it has started anew and knows nothing of what it claimed before
        if self._members.heard(peer.name, now) or known != message.incarnation:
            self._send_beat(peer, trust.incarnation)
            # While it was away it may have answered for our addresses; but first hear all claims, then
            # insist.
            self._repeat_at = now + 2 * self._pace.interval
        self._take(peer, message, now)
        if (peer.claims, peer.ready, peer.leaving, peer.alive) != before:
            self._look = True

    def _introduce(self, message: Message, now: float) -> None:
        """Answer a peer that does not know our incarnation, so that its next message can be believed."""
        if message.echo == self._incarnation or now - self._replied.get(message.sender, -1.0) < REPLY_GAP:
            return
        self._replied[message.sender] = now
        self._send_beat(self._members.peers[message.sender], message.incarnation)

    def _take(self, peer: Peer, message: Message, now: float) -> None:
        if message.kind is Kind.BEAT:
            peer.ready, peer.leaving = message.ready, message.leaving
            peer.take_claims(message.part, message.parts, message.claims, message.sequence)
            if message.leaving and not peer.claims and not message.ready:
                self._members.gone(peer.name)
        elif message.kind is Kind.ASK:
            subject = self._members.peers.get(message.subject)
            heard = subject is not None and subject.state in (State.ALIVE, State.SUSPECT)
            age = round((now - subject.heard) * 1000) if subject is not None and heard else NEVER
            self._send(peer, Kind.TELL, subject=message.subject, age=age)
        else:
            self._members.told(peer.name, message.subject, message.age / 1000)

    def node_answered(self, address: str) -> None:
        """The node at this address answered by ARP."""
        self._members.node_answered(address)

    def link(self, up: bool, now: float) -> None:
        """The link went down or came up. Without a link nothing is claimed; with it, first listen."""
        if up == self._link:
            return
        self._link = up
        self._look, self._takeover.active = True, False
        self._out += self._takeover.drop_all(now)
        self._listen_until = now + self._pace.listen
        self._next_beat = now

    def paused(self, seconds: float, now: float) -> None:
        """We did not run for so long. After a long pause others have our addresses: claim nothing, first
        listen.
        """
        self._members.forgive(seconds, now)
        self._next_beat = min(self._next_beat, now)
        if seconds >= self._pace.interval * self._pace.process * 0.9:
            self._look, self._takeover.active = True, False
            self._out += self._takeover.drop_all(now)
            self._listen_until = now + self._pace.listen

    def leave(self, now: float) -> None:
        """Begin to end: serve on until successors have claimed."""
        if self._left_by is None:
            self._left_by = now + self._pace.handover
            self._look = self._takeover.leaving = True
            self._next_beat = now

    def left(self, now: float) -> bool:
        """Whether nothing keeps us any more after :meth:`leave`."""
        return self._left_by is not None and (not self.claims or now >= self._left_by)

    def farewell(self) -> None:
        """The last word: peers need not wait to see that we are gone."""
        self._out += self._takeover.drop_all(0.0)
        self._takeover.active = False
        self._beat_all()

    def tick(self, now: float, frames: int = 0) -> None:
        """Do what time demands. ``frames`` is the number of frames the interface has received so far."""
        if not self._takeover.active and self._link and now >= self._listen_until:
            self._look = self._takeover.active = True
        if not self._desired.keys:
            self._out += self._takeover.static()
            self._next_beat, self._look_at = now + self._pace.interval, math.inf
            return
        if self._link:
            asks, died = self._members.tick(now)
            self._look = self._look or bool(died)
            for one in asks:
                if isinstance(one, Ask):
                    self._send(self._members.peers[one.peer], Kind.ASK, subject=one.subject)
                else:
                    self._out.append(one)
        if self._look or now >= self._look_at:
            acts = self._takeover.tick(self._members.peers, now, cut_off=self._cut_off(now, frames))
            self._out += acts
            due = self._takeover.due(self._members.peers, now)
            self._look, self._look_at = bool(acts), math.inf if due is None else due
            if acts:
                self._next_beat = now  # a change is told at once, not at the next beat
        if now >= self._repeat_at:
            self._repeat_at = math.inf
            self._out += [Repeat(address) for address in self.claims]
        if now >= self._next_beat:
            self._frames.append((now, frames))
            self._beat_all()
            gap = 0.2 if self._left_by is not None else self._chance.uniform(0.75, 1.0)
            self._next_beat = now + self._pace.interval * gap

    def wake(self, now: float) -> float:
        """When :meth:`tick` must be called next at the latest."""
        times = [self._next_beat, self._repeat_at, now + self._pace.interval]
        if not self._takeover.active and self._link:
            times.append(self._listen_until)
        due = self._members.due()
        if self._link:
            times += [self._look_at, due if due is not None else math.inf]
        return max(now, min(times))

    def _cut_off(self, now: float, frames: int) -> bool:
        """Whether the interface has received nothing at all for longer than a beat: then it is likely us.

        One living peer alone would have been heard in that time.
        """
        earlier = [count for at, count in self._frames if now - at >= FRAMES_AGE]
        return bool(earlier) and earlier[-1] == frames

    def _beat_all(self) -> None:
        for name, peer in self._members.peers.items():
            self._send_beat(peer, self._trust[name].incarnation)

    def _send_beat(self, peer: Peer, echo: int) -> None:
        claims = self._takeover.claims
        parts = min(255, -(-len(claims) // PART_CLAIMS) * 2) or 1 if len(claims) > PART_CLAIMS else 1
        split: list[list[tuple[str, int]]] = [[] for _ in range(parts)]
        for address, term in claims.items():
            split[part_of(address, parts)].append((address, term))
        for part, some in enumerate(split):
            self._send(peer, Kind.BEAT, echo=echo, part=part, parts=parts, claims=tuple(some))

    def _send(
        self, peer: Peer, kind: Kind, *, echo: int | None = None, part: int = 0, parts: int = 1,
        claims: Sequence[tuple[str, int]] = (), subject: str = "", age: int = NEVER,
    ) -> None:
        if not self._desired.keys:
            return
        self._sequence += 1
        leaving = self._left_by is not None
        message = Message(
            kind, self.me, self._incarnation, self._trust[peer.name].incarnation if echo is None else echo,
            self._sequence, self._takeover.active and not leaving, leaving, part, parts, tuple(claims),
            subject, age,
        )
        self._out.append(Send(peer.address, encode(message, self._desired.keys[0])))
