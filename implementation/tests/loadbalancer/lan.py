"""A LAN of real network namespaces: nodes with the real announcer, and a client that probes. Made inside
``unshare``.

Every node serves the address itself (it stands on lo, ``arp_ignore`` keeps the kernel from answering for
it), so what a client loses is lost by the announcement alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from implementation.loadbalancer import announcer
from implementation.loadbalancer.announcer import Order, Report
from implementation.loadbalancer.elect import order
from implementation.loadbalancer.member import Desired
from implementation.loadbalancer.membership import Pace
from implementation.loadbalancer.takeover import Vip

VIP = "192.168.2.200"
PORT = 9999
KEY = b"k" * 32
DEADLINE = 0.1  # seconds; a later answer counts as lost
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def ip(*argv: str, tool: str = "ip") -> None:
    subprocess.run((tool, *argv), check=True, capture_output=True, text=True, timeout=10)


def child(run: Callable[[], None]) -> int:
    """Fork; the child dies with us."""
    pid = os.fork()
    if pid:
        return pid
    _libc.prctl(1, signal.SIGKILL)
    try:
        run()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


@dataclass
class Host:
    """A network namespace with ``eth0`` on the bridge."""

    name: str
    address: str
    port: str
    namespace: int = -1
    speaker: int = 0
    orders: int = -1
    reports: int = -1
    owned: set[str] = field(default_factory=set)
    log: list[tuple[float, Report]] = field(default_factory=list)
    rest: bytes = b""


class Lan:
    """Three nodes and a client on one bridge."""

    def __init__(self, nodes: int = 3) -> None:
        ip("link", "set", "lo", "up")
        ip("link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for name in ("iptables", "ip6tables", "arptables"):
            setting = Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}")
            if setting.exists():
                setting.write_text("0")
        ip("link", "set", "br0", "up")
        self.nodes = [self._host(f"node-{chr(97 + i)}", 101 + i) for i in range(nodes)]
        self.client = self._host("client", 50)
        self.vips = {VIP: Vip(VIP, VIP, order([n.name for n in self.nodes], VIP))}
        self.pace = Pace()

    def _host(self, name: str, number: int) -> Host:
        host = Host(name, f"192.168.2.{number}", f"p{number}")
        reader, writer = os.pipe()
        parent = os.getpid()

        def hold() -> None:
            if _libc.unshare(_CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            ip("link", "set", "lo", "up")
            ip(
                "link",
                "add",
                "eth0",
                "address",
                f"02:00:00:00:00:{number:02x}",
                "type",
                "veth",
                "peer",
                "name",
                host.port,
                "netns",
                str(parent),
            )
            ip("address", "add", f"{host.address}/24", "dev", "eth0")
            for key, value in (("arp_ignore", 1), ("arp_announce", 2), ("rp_filter", 0)):
                for where in ("all", "eth0"):
                    Path(f"/proc/sys/net/ipv4/conf/{where}/{key}").write_text(str(value))
            ip("link", "set", "eth0", "up")
            if name != "client":
                ip("address", "add", f"{VIP}/32", "dev", "lo")
            os.write(writer, b"!")
            _echo(name) if name != "client" else signal.pause()

        pid = child(hold)
        os.close(writer)
        if os.read(reader, 1) != b"!":
            raise RuntimeError(f"{name} could not be made")
        host.namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        ip("link", "set", host.port, "master", "br0", "up")
        return host

    def inside(self, host: Host, run: Callable[[], None]) -> int:
        """Run in a process of its own in the host's network."""

        def enter() -> None:
            if _libc.setns(host.namespace, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            run()

        return child(enter)

    # -- speakers

    def speak(self, host: Host) -> None:
        orders_in, host.orders = os.pipe()
        host.reports, reports_out = os.pipe()
        os.set_blocking(host.reports, False)
        host.owned.clear()

        def run() -> None:
            for other in self.nodes:
                if other.orders >= 0:
                    os.close(other.orders)  # only we may hold these open
            announcer.run(host.name, host.address, "eth0", orders_in, reports_out, self.pace)

        host.speaker = self.inside(host, run)
        os.close(orders_in)
        os.close(reports_out)
        self.tell(host)

    def tell(self, host: Host) -> None:
        peers = {node.name: node.address for node in self.nodes if node is not host}
        desired = Desired(peers, self.vips, (KEY,))
        os.write(host.orders, msgspec.json.encode(Order(desired=desired)) + b"\n")

    def silence(self, host: Host) -> None:
        """Forget a speaker that was killed."""
        os.waitpid(host.speaker, 0)
        os.close(host.orders)
        os.close(host.reports)
        host.orders = host.reports = -1
        host.owned.clear()

    def look(self) -> None:
        """Take the reports that have come."""
        for host in self.nodes:
            while host.reports >= 0:
                try:
                    chunk = os.read(host.reports, 65536)
                except BlockingIOError:
                    break
                if not chunk:
                    break
                *lines, host.rest = (host.rest + chunk).split(b"\n")
                for line in lines:
                    report = msgspec.json.decode(line, type=Report)
                    host.log.append((time.monotonic(), report))
                    (host.owned.add if report.announced else host.owned.discard)(
                        report.announced or report.withdrawn
                    )

    def owners(self) -> list[Host]:
        self.look()
        return [host for host in self.nodes if VIP in host.owned]

    def until(self, what: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        self.look()
        while not what():
            self.look()
            if time.monotonic() > end:
                raise RuntimeError(f"not within {seconds} s; owners: {[h.name for h in self.owners()]}")
            time.sleep(0.005)

    def settle(self) -> None:
        for host in self.nodes:
            self.speak(host)
        # On a busy machine one may start so late that another has the address already: that is as good.
        self.until(lambda: all(h.log for h in self.nodes) and len(self.owners()) == 1, 10)
        time.sleep(2 * self.pace.listen)  # and nobody is still listening before its first claim
        self.until(lambda: len(self.owners()) == 1, 5)

    # -- faults

    def cut(self, host: Host, on: bool = True) -> None:
        """Silence the host's port, both ways; its carrier stays, as when a switch dies behind a media
        converter.
        """
        ip("link", "set", "dev", host.port, "state", "0" if on else "3", tool="bridge")

    # -- the client

    def probe(self, seconds: float) -> Probing:
        reader, writer = os.pipe()
        self.inside(self.client, lambda: _probe(seconds, writer))
        os.close(writer)
        return Probing(reader)


class Probing:
    """A probe that runs."""

    def __init__(self, reader: int) -> None:
        self._reader = os.fdopen(reader, "rb")

    def result(self) -> list[tuple[float, float | None, str]]:
        """Time sent, seconds until the answer (None: lost), who answered."""
        return [tuple(row) for row in json.loads(self._reader.read())]


def gaps(rows: list[tuple[float, float | None, str]]) -> list[float]:
    """Lengths of the outages: from the first probe lost to the next that was answered."""
    found, since = [], None
    for at, took, _ in rows:
        if took is None and since is None:
            since = at
        elif took is not None and since is not None:
            found.append(at - since)
            since = None
    if since is not None:
        found.append(rows[-1][0] - since + 999)
    return found


def _echo(name: str) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((VIP, PORT))
    while True:
        data, peer = server.recvfrom(64)
        try:
            server.sendto(data + name.encode(), peer)
        except OSError:
            continue


def _probe(seconds: float, writer: int, interval: float = 0.005) -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((VIP, PORT))
    sender.setblocking(False)
    poll = select.poll()
    poll.register(sender, select.POLLIN)
    start = time.monotonic()
    sent: list[float] = []
    answered: dict[int, tuple[float, str]] = {}
    total = int(seconds / interval)
    while (now := time.monotonic()) < (sent[-1] + DEADLINE if len(sent) == total else math.inf):
        if len(sent) < total and now >= start + len(sent) * interval:
            sent.append(now)
            with contextlib.suppress(OSError):
                sender.send(f"{len(sent) - 1:08d}".encode())
            continue
        poll.poll(max(0.0, min(interval, start + len(sent) * interval - now) * 1000))
        try:
            data = sender.recv(64)
        except OSError:
            continue
        number = int(data[:8])
        answered.setdefault(number, (time.monotonic() - sent[number], data[8:].decode()))
    rows = [
        (at, took if took <= DEADLINE else None, who)
        for at, (took, who) in ((at, answered.get(i, (9.0, ""))) for i, at in enumerate(sent))
    ]
    with os.fdopen(writer, "w") as file:
        json.dump(rows, file)
