"""Where ci/bench/proxy measures: a node with a client on one side and all pods on the other, in namespaces.

Every endpoint address is local to the pods' namespace, so that each of very many Services really answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from implementation.tests.lab import netns, sh

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
TICKS = os.sysconf("SC_CLK_TCK")
LINGER = struct.pack("ii", 1, 0)  # close by a reset: no socket is left waiting
NETFILTER, NFNLGRP_NFTABLES = 12, 7
PORT = 8080
CPUS = sorted(os.sched_getaffinity(0))
QUIET = "net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000"


def build() -> None:
    """Make this process's fresh namespaces the node, with ``client`` and ``pods`` beside it."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no namespace can be made; see service-conformance doctor")
    sh("mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/netns && ip link set lo up")
    sh(f"sysctl -qw net.ipv4.ip_forward=1 {QUIET} || true")
    for name, node, other in (
        ("client", "192.168.2.114", "192.168.2.50"),
        ("pods", "10.127.0.1", "10.127.0.2"),
    ):
        sh(f"ip netns add {name} && ip link add {name} type veth peer name eth0 netns {name}")
        sh(f"ip addr add {node}/24 dev {name} && ip link set {name} up")
        sh(f"ip -n {name} addr add {other}/24 dev eth0 && ip -n {name} link set eth0 up")
        sh(f"ip -n {name} link set lo up && ip -n {name} route add default via {node}")
    sh("ip route add 10.128.0.0/9 via 10.127.0.2 && ip -n pods route add local 10.128.0.0/9 dev lo")


def serve() -> None:
    """Have a process of its own answer every endpoint: each connection is told the address it came to."""
    with netns("pods"):
        listening = socket.create_server(("0.0.0.0", PORT), backlog=4096)
    parent = os.getpid()
    if os.fork():
        return
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.sched_setaffinity(0, CPUS[-1:])
    while os.getppid() == parent:
        made, _ = listening.accept()
        with contextlib.suppress(OSError):  # the client is gone again
            made.sendall(socket.inet_aton(made.getsockname()[0]))
        made.close()
    os._exit(0)


def client() -> socket.socket:
    """A socket of the client's that will close by a reset."""
    with netns("client"):
        made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    return made


def answers(address: str, seconds: float = 0.5) -> bytes:
    """The endpoint (four bytes) that a new connection to a Service comes to; empty when it is not served."""
    with client() as made:
        made.settimeout(seconds)
        try:
            made.connect((address, 80))
            return made.recv(4)
        except OSError:
            return b""


def latencies(addresses: list[str]) -> list[float]:
    """Seconds that each connect takes: the first packet of a new flow there and its answer back.

    The client keeps to one processor and the backend to another, and each answer is waited for before the
    next connection: whole series took a third longer, or not, by how the two met.
    """
    found: list[float] = []
    os.sched_setaffinity(0, CPUS[:1])
    with netns("client"):
        for address in addresses:
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            made.settimeout(5)
            began = time.perf_counter()
            made.connect((address, 80))
            found.append(time.perf_counter() - began)
            made.recv(4)
            made.close()
    os.sched_setaffinity(0, CPUS)
    return found


class Heard:
    """The kernel's notices of changes of nf_tables. They cost the one who changes: open it late, close it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self._socket.setsockopt(270, 1, NFNLGRP_NFTABLES)

    def until(self, address: str, seconds: float) -> float:
        """When a notice with this address came (monotonic). Raises TimeoutError."""
        wanted, end = socket.inet_aton(address), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                try:
                    data = self._socket.recv(1 << 20)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    continue
                if wanted in data:
                    return time.monotonic()
        raise TimeoutError(f"no rule with {address} within {seconds} s")

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class Subject:
    """A proxy's process while it is measured."""

    def __init__(self, argv: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            self.began = time.monotonic()
            self._process = subprocess.Popen(argv, env=environment, stdout=file, stderr=file)

    def cpu(self) -> float:
        """Processor seconds so far, its ended children's too."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / TICKS

    def peak(self) -> float:
        """The most memory it ever held, in MB (of its own, without children)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0

    def until(self, condition: Callable[[], object], seconds: float) -> float:
        """When the condition came to hold (monotonic). Raises RuntimeError with the end of the log."""
        while not condition():
            if self._process.poll() is not None or time.monotonic() - self.began > seconds:
                why = "it ended" if self._process.poll() is not None else f"not within {seconds} s"
                raise RuntimeError(f"{why}; its log ends: {self.log.read_text()[-1500:]}")
            time.sleep(0.003)
        return time.monotonic()

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def kernel_memory() -> float:
    """MB the kernel holds for itself."""
    held = dict(re.findall(r"(\w+):\s+(\d+)", Path("/proc/meminfo").read_text()))  # kB
    return sum(int(held[name]) for name in ("SUnreclaim", "VmallocUsed", "Percpu")) / 1024
