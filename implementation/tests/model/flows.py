"""Flows as real packets: a node, two pods of its own, two of another node, a host outside; both families."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from implementation.tests.lab import Node, echo, netns, sh
from implementation.tests.model.oracle import NO_ANSWER, PODS, REFUSED, SILENT, Fate, Flow

PATIENCE, SILENCE = 10.0, 0.25  # seconds: for what must come, and for what must not
FORBIDDEN = "not permitted"  # what the kernel tells a sender on the node itself, be it refused or dropped
# A port of its own for each flow, so that none meets what the kernel remembers of another; below those that
# the kernel gives to whoever names none, as the proxy of mode userspace does on the node.
_ports = itertools.count(33_000)
_GIVEN = "46000 60999"


class Lab:
    """The places, with echo servers on every backend's addresses, ports 8080 and 8081."""

    def __init__(self) -> None:
        Node(2)
        sh("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.icmp.ratelimit=0")
        sh(f"sysctl -qw net.ipv4.ip_local_port_range='{_GIVEN}'")
        sh("ip netns add away && ip link add away type veth peer name eth0 netns away && ip link set away up")
        sh("ip -n away link set eth0 up && ip -n away link set lo up && ip addr add 192.168.3.1/24 dev away")
        sh("ip -n away addr add 192.168.3.2/24 dev eth0 && ip -n away route add default via 192.168.3.1")
        sh("ip route add 10.42.1.0/24 via 192.168.3.2")
        self._six()
        for name, pod in PODS.items():
            place = "away" if name.startswith("away") else name
            for family, address in pod.address.items():
                if place == "away":
                    sh(f"ip -n away addr add {address}/{32 if family == 4 else 128} dev lo")
                for port in (8080, 8081):
                    echo(place, port, f"{name}:{port}", address)
        self._threads = ThreadPoolExecutor(32)

    def _six(self) -> None:
        """IPv6 on every link."""
        sh("ip addr add fd42::1/64 dev cni0 nodad && ip addr add fd02::114/64 dev outside nodad")
        sh("ip addr add fd03::1/64 dev away nodad && ip -n away addr add fd03::2/64 dev eth0 nodad")
        for place, address, gateway in (
            ("pod0", "fd42::2", "fd42::1"), ("pod1", "fd42::3", "fd42::1"), ("outside", "fd02::50",
            "fd02::114"), ("away", "", "fd03::1"),
        ):  # fmt: skip
            if address:
                sh(f"ip -n {place} addr add {address}/64 dev eth0 nodad")
            sh(f"ip -n {place} route add default via {gateway}")
        sh("ip route add default via fd02::50 && ip route add fd42:0:0:1::/64 via fd03::2")

    def ask(self, asked: Sequence[tuple[Flow, Fate]]) -> list[str]:
        """What each flow meets, all at once. One that must stay silent is waited for only as long as its
        answer would take."""
        return list(self._threads.map(lambda pair: _ask(*pair), asked))


def _ask(flow: Flow, expected: Fate) -> str:
    kind = socket.SOCK_STREAM if flow.protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if flow.family == 6 else socket.AF_INET
    with netns(flow.client):
        made = socket.socket(family, kind)
    hopeless = expected.ends & {SILENT, NO_ANSWER}
    try:
        made.bind(("", next(_ports)))
        made.settimeout(SILENCE if hopeless else PATIENCE)
        made.connect((flow.address, flow.port))
        return _stream(made) if flow.protocol == "tcp" else _datagram(made, SILENCE if hopeless else PATIENCE)
    except ConnectionRefusedError:
        return REFUSED
    except PermissionError:
        return FORBIDDEN
    except TimeoutError:
        return SILENT
    except OSError as error:
        return error.strerror or str(error)
    finally:
        made.close()


def _stream(made: socket.socket) -> str:
    return made.recv(100).decode() or "closed"


def _datagram(made: socket.socket, patience: float) -> str:
    """Send once a second, as a datagram may be lost where a queue is full."""
    end = time.monotonic() + patience
    while (left := end - time.monotonic()) > 0:
        made.settimeout(min(1.0, left))
        made.send(b"?")
        try:
            return made.recv(100).decode()
        except TimeoutError:
            continue
    return SILENT


def objection(flow: Flow, expected: Fate, met: str) -> str:
    """Why what was met is not acceptable; empty when it is."""
    who, _, source = met.partition(" ")
    if who in expected.backends:
        own = who.partition(":")[0] == flow.client  # a pod that reaches itself is masqueraded
        wrong = expected.source and not own and source != expected.source
        return f"{flow}: {who} saw the client as {source}, not {expected.source}" if wrong else ""
    answered = who.partition(":")[0] in PODS
    if (
        met in expected.ends
        or (met == FORBIDDEN and expected.ends)
        or (NO_ANSWER in expected.ends and not answered)
    ):
        return ""
    return f"{flow}: met {met!r}, expected {sorted(expected.backends) or sorted(expected.ends)}"
