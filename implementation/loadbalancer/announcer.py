"""The process that announces: heartbeats and ARP, and nothing else in it, least of all Kubernetes objects.

So no list of a thousand Services and no garbage collection stands between a heartbeat and its answer. What
to announce comes as JSON lines through a pipe; what became of it goes back the same way. When the pipe
closes, the process hands its addresses over and ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time

import msgspec

from implementation.loadbalancer import arp, heartbeat
from implementation.loadbalancer.interface import Interface
from implementation.loadbalancer.member import Desired, Member, Send
from implementation.loadbalancer.membership import Pace, Probe
from implementation.loadbalancer.takeover import Announce, Withdraw

LATE = 0.05  # seconds over time from which we say that we did not run
STALE = 0.3  # after so long a pause questions that wait are no longer asked
DEFENCE = 10.0  # seconds between answers to a stranger with our address (RFC 5227 §2.4)
LEARN = 30.0  # seconds between looks at the peers' MAC addresses
BIND_SECONDS = 5.0  # a predecessor that is still handing over has the port


class Order(msgspec.Struct, omit_defaults=True):
    """A line to the announcer."""

    desired: Desired | None = None
    mute: tuple[str, ...] = ()  # addresses that may be ours but are not announced on this interface
    leave: bool = False


class Report(msgspec.Struct, omit_defaults=True):
    """A line from the announcer: ``hello`` once at start, then each change."""

    hello: bool = False
    announced: str = ""
    withdrawn: str = ""
    left: bool = False


_orders = msgspec.json.Decoder(Order)


class Announcer:
    """Sockets and clock around a :class:`Member`."""

    def __init__(self, me: str, address: str, interface: str, orders: int, reports: int, pace: Pace) -> None:
        self._address, self._orders, self._reports = address, orders, reports
        self._interface = Interface(interface)
        self._udp = _bound(address)
        self._member = Member(me, int.from_bytes(os.urandom(8)) | 1, time.monotonic(), pace=pace)
        self._bursts = arp.Bursts()
        self._macs: dict[str, bytes] = {}
        self._defended: dict[str, float] = {}
        self._mute: frozenset[str] = frozenset()
        self._buffer = b""
        self._learn_at = 0.0
        self._link_at = 0.0
        self._wake = time.monotonic()
        self._ended = _end_signals()
        self._poll = select.poll()
        self._told_to_end = False

    def run(self) -> None:
        """Announce until told to leave or until the pipe closes."""
        os.set_blocking(self._orders, False)
        for source in (self._udp.fileno(), self._interface.socket.fileno(), self._orders, self._ended):
            self._poll.register(source, select.POLLIN)
        self._report(Report(hello=True))
        last = False
        while not last:
            self._poll.poll(max(0.0, (self._wake - time.monotonic()) * 1000))
            last = self._turn()
        self._member.farewell()
        self._act(time.monotonic())
        self._report(Report(left=True))

    def _turn(self) -> bool:
        """One turn of the loop; whether it was the last. Heartbeats come first: they may say that we are no
        owner.
        """
        now = time.monotonic()
        late = now - self._wake
        self._read_heartbeats(now)
        if late > LATE:
            self._member.paused(late, now)
        self._read_arp(now, answer=late < STALE)
        self._read_orders(now)
        self._read_signals(now)
        if now >= self._link_at:
            self._link_at = now + 0.1
            self._member.link(self._interface.link(), now)
            if self._interface.replaced():
                raise RuntimeError(f"{self._interface.name} was replaced by another interface of this name")
        if now >= self._learn_at:
            self._learn(now)
        self._member.tick(now, self._interface.frames())
        self._act(now)
        for address in self._bursts.take_due(now):
            self._announce(address)
        times = (self._member.wake(now), self._bursts.wake(), self._learn_at)
        self._wake = min(at for at in times if at is not None)
        return self._member.left(now)

    def _read_heartbeats(self, now: float) -> None:
        for _ in range(1024):
            try:
                datagram = self._udp.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about an earlier datagram
            self._member.receive(datagram, now)

    def _read_arp(self, now: float, *, answer: bool) -> None:
        claims, mac = self._member.claims, self._interface.mac
        for frame in self._interface.received():
            if frame.operation == arp.REPLY and frame.destination == mac:
                self._macs[frame.sender] = frame.sender_mac
                self._member.node_answered(frame.sender)
            if frame.sender in claims and frame.sender_mac != mac:
                self._stranger(frame, now)
            elif (answer and frame.operation == arp.REQUEST and frame.target in claims
                  and frame.target not in self._mute and frame.destination in (arp.BROADCAST, mac)):
                self._interface.send(arp.answer(frame, mac))

    def _stranger(self, frame: arp.Arp, now: float) -> None:
        """Somebody else has our address. Another speaker is dealt with by claims; a stranger is answered,
        seldom.
        """
        if frame.sender_mac in self._macs.values():
            return
        if now - self._defended.get(frame.sender, -DEFENCE) >= DEFENCE:
            self._defended[frame.sender] = now
            self._bursts.start(frame.sender, now)

    def _read_orders(self, now: float) -> None:
        if self._told_to_end:
            return
        try:
            while chunk := os.read(self._orders, 65536):
                self._buffer += chunk
        except BlockingIOError:
            pass
        else:  # the other end is closed: nobody tells us any more what is wanted
            self._told_to_end = True
            self._poll.unregister(self._orders)
            self._member.leave(now)
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                order = _orders.decode(line)
            except msgspec.MsgspecError:
                continue  # the rest of a line that a killed predecessor had begun; ours comes after our hello
            if order.leave:
                self._member.leave(now)
            if order.desired is not None:
                new = order.desired.peers.keys() - self._member.peers.keys()
                self._member.configure(order.desired, now)
                self._mute = frozenset(order.mute)
                self._learn_at = now if new else self._learn_at

    def _read_signals(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(self._ended, 64):
                self._member.leave(now)

    def _learn(self, now: float) -> None:
        """Ask where the peers' nodes are, so that a suspect can be asked by unicast."""
        self._learn_at = now + LEARN
        for peer in self._member.peers.values():
            self._interface.send(arp.who_has(peer.address, self._address, self._interface.mac))

    def _act(self, now: float) -> None:
        for action in self._member.actions():
            if isinstance(action, Send):
                # Lost like any datagram: no route, no buffer, port closed. The next one is 100 ms away.
                with contextlib.suppress(OSError):
                    self._udp.sendto(action.datagram, (action.address, heartbeat.PORT))
            elif isinstance(action, Probe):
                to = self._macs.get(action.address, arp.BROADCAST)
                self._interface.send(arp.who_has(action.address, self._address, self._interface.mac, to))
            elif isinstance(action, Withdraw):
                self._bursts.stop(action.address)
                self._report(Report(withdrawn=action.address))
            else:
                self._bursts.start(action.address, now)
                if isinstance(action, Announce):
                    self._report(Report(announced=action.address))

    def _announce(self, address: str) -> None:
        if address not in self._mute:
            for frame in arp.announcements(address, self._interface.mac):
                self._interface.send(frame)

    def _report(self, report: Report) -> None:
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._reports, msgspec.json.encode(report) + b"\n")


def _end_signals() -> int:
    """A pipe that becomes readable on TERM or INT: the loop then ends in order, never in the middle of a
    turn.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    return reader


def _bound(address: str) -> socket.socket:
    """The heartbeat socket; waits for a predecessor that still hands over."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            made.bind((address, heartbeat.PORT))
            break
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
    made.setblocking(False)
    return made


def run(me: str, address: str, interface: str, orders: int, reports: int, pace: Pace) -> None:
    """Be the announcer of node ``me`` until the pipe ``orders`` closes, or TERM or INT comes."""
    # Only in real-time class does a heartbeat go out in time beside sixteen busy processes; else as high as
    # allowed.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    announcer = Announcer(me, address, interface, orders, reports, pace)
    gc.collect()
    gc.freeze()
    announcer.run()
