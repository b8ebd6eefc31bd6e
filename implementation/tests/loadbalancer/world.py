"""Speakers under a simulated clock: a LAN that delays, loses and cuts, and clients that only see who
answers.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from implementation.loadbalancer.elect import order
from implementation.loadbalancer.member import Desired, Member, Send
from implementation.loadbalancer.membership import Pace, Probe
from implementation.loadbalancer.takeover import Announce, Vip, Withdraw

KEY = b"k" * 32


@dataclass
class Host:
    """A node: its kernel answers ARP while it has power, its speaker runs while it is neither stopped nor
    dead.
    """

    name: str
    address: str
    member: Member
    powered: bool = True
    running: bool = True
    stopped_at: float | None = None
    inbox: list[bytes] = field(default_factory=list)
    planned: float = 0.0


class World:
    """A number of hosts on one LAN. ``owners`` are the speakers that answer for an address now."""

    def __init__(
        self,
        names: Iterable[str],
        addresses: Iterable[str] = ("10.0.0.200",),
        *,
        seed: int = 0,
        loss: float = 0.0,
        pace: Pace | None = None,
    ) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.loss, self.pace = loss, pace or Pace()
        self.cut: set[frozenset[str]] = set()  # pairs that do not reach each other, both ways
        self.deaf: set[tuple[str, str]] = set()  # (from, to) that is lost
        self.hosts: dict[str, Host] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count()
        self._incarnations = count(1)
        self.history: list[tuple[float, str, str, str]] = []  # time, host, what, address
        self.names = list(names)
        self.vips = {a: Vip(a, a, order(self.names, a)) for a in addresses}
        self.frames: dict[str, int] = dict.fromkeys(self.names, 0)
        self.outside_reaches: set[str] = set(self.names)  # hosts whose link carries client traffic
        for name in self.names:
            self.start(name)

    def address(self, name: str) -> str:
        return f"10.0.0.{self.names.index(name) + 1}"

    def start(self, name: str, vips: dict[str, Vip] | None = None) -> None:
        """Start the speaker of a host (anew)."""
        member = Member(name, next(self._incarnations), self.now, pace=self.pace, chance=self.chance)
        self.hosts[name] = Host(name, self.address(name), member)
        self.tell(name, vips)

    def tell(self, name: str, vips: dict[str, Vip] | None = None) -> None:
        peers = {other: self.address(other) for other in self.names if other != name}
        host = self.hosts[name]
        host.member.configure(Desired(peers, self.vips if vips is None else vips, (KEY,)), self.now)
        self._turn(host)

    def reaches(self, source: str, target: str) -> bool:
        if frozenset((source, target)) in self.cut or (source, target) in self.deaf:
            return False
        return self.chance.random() >= self.loss

    def at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (time, next(self._count), what))

    def run(self, seconds: float, watch: Callable[[], None] | None = None) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, what = heapq.heappop(self._heap)
            what()
            if watch is not None:
                watch()
        self.now = end

    # -- faults

    def power_off(self, name: str) -> None:
        host = self.hosts[name]
        host.powered = host.running = False

    def kill(self, name: str) -> None:
        self.hosts[name].running = False

    def stop(self, name: str) -> None:
        self.hosts[name].stopped_at = self.now

    def cont(self, name: str) -> None:
        host = self.hosts[name]
        host.stopped_at = None
        inbox, host.inbox = host.inbox, []
        for datagram in inbox:
            host.member.receive(datagram, self.now)
        if self.now - host.planned > 0.05:
            host.member.paused(self.now - host.planned, self.now)
        self._turn(host)

    def isolate(self, name: str, on: bool = True) -> None:
        """Cut the host from everybody (or heal); its carrier stays."""
        for other in self.names:
            if other != name:
                (self.cut.add if on else self.cut.discard)(frozenset((name, other)))
        (self.outside_reaches.discard if on else self.outside_reaches.add)(name)

    # -- what is seen

    def owners(self, address: str = "10.0.0.200") -> list[str]:
        return [n for n, h in self.hosts.items() if h.powered and h.running and address in h.member.claims]

    def visible(self, address: str = "10.0.0.200") -> list[str]:
        return [n for n in self.owners(address) if n in self.outside_reaches]

    # -- the machinery

    def _turn(self, host: Host) -> None:
        if not host.running or host.stopped_at is not None or self.hosts[host.name] is not host:
            return
        if host.name in self.outside_reaches:
            self.frames[host.name] = int(self.now * 200)  # a client's frames, 5 ms apart
        host.member.tick(self.now, self.frames[host.name])
        for action in host.member.actions():
            if isinstance(action, Send):
                self._send(host, action)
            elif isinstance(action, Probe):
                self._probe(host, action)
            else:
                what = {Announce: "announce", Withdraw: "withdraw"}.get(type(action), "repeat")
                self.history.append((self.now, host.name, what, action.address))
        host.planned = host.member.wake(self.now)
        planned = host.planned = max(host.planned, self.now + 1e-4)

        def wake() -> None:
            if host.planned == planned:
                self._turn(host)

        self.at(planned, wake)

    def _delay(self) -> float:
        return self.chance.uniform(0.0001, 0.001)

    def _send(self, host: Host, action: Send) -> None:
        target = next(name for name in self.names if self.address(name) == action.address)
        if not self.reaches(host.name, target):
            return

        def arrive() -> None:
            other = self.hosts[target]
            if not other.running:
                return
            if other.stopped_at is not None:
                other.inbox.append(action.datagram)
                return
            other.member.receive(action.datagram, self.now)
            self._turn(other)

        self.at(self.now + self._delay(), arrive)

    def _probe(self, host: Host, action: Probe) -> None:
        target = next(name for name in self.names if self.address(name) == action.address)
        if not (self.reaches(host.name, target) and self.reaches(target, host.name)):
            return

        def answered() -> None:
            if self.hosts[target].powered:
                host.member.node_answered(action.address)

        self.at(self.now + self._delay(), answered)
