"""A node with pods and a host outside, made of namespaces, for tests that send real packets.

``inside(function, ...)`` runs a function of a test module in fresh user, net, mount and PID namespaces and
gives what it returns (JSON). The function itself builds what it needs with :class:`Node`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
UNSHARE = [
    "setpriv",  # when a test is killed, its namespaces and all in them go with it
    "--pdeathsig",
    "KILL",
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]
NODE_IP, OUTSIDE_IP = "192.168.2.114", "192.168.2.50"
NODE_IP6, OUTSIDE_IP6 = "fd00:2::114", "fd00:2::50"
# Else the first second's packets wait until a link-local address is known to be nobody else's.
NO_DAD = "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
PATIENCE = float(os.environ.get("SC_PATIENCE", "1"))  # how many times slower than usual a machine may be
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def inside(function: Callable[..., Any], *args: Any, as_nobody: bool = False, timeout: float = 30) -> Any:
    """What ``function(*args)`` gives when run in fresh namespaces; fails with its output when it fails."""
    where = f"{function.__module__}:{function.__qualname__}"
    argv = [*UNSHARE, sys.executable, "-m", "implementation.tests.lab", where, json.dumps(args)]
    if as_nobody and os.geteuid() == 0:
        argv = [*_dropping_rights(), *argv]
    environment = {**os.environ, "HOME": "/tmp", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=timeout * PATIENCE,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, f"{where}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def _dropping_rights() -> list[str]:
    """The command prefix that makes root an ordinary user.

    Where nobody else may read the interpreter or this checkout (a home folder), it stays user 0 but without
    any capability, present or to come: the kernel asks for those, not for the number. Only CAP_SETFCAP is
    left, without which it maps user 0 into no namespace.
    """
    needed = (ROOT / "implementation", Path(sys.executable).resolve())
    if all(folder.stat().st_mode & 0o001 for path in needed for folder in path.parents):
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all", "--ambient-caps=-all"]


def sh(command: str) -> str:
    """Run a command line of the test's own and give its output; fails when it fails."""
    patience = 20 * PATIENCE
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=patience, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def netns(name: str) -> Iterator[None]:
    """Sockets made in this block live in the network namespace ``name`` ("" for the node itself)."""
    if not name:
        yield
        return
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        assert _libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert _libc.setns(here, CLONE_NEWNET) == 0
        os.close(here)
        os.close(there)


class Node:
    """The node (this namespace) with pods 10.42.0.x behind cni0 and the host ``outside`` on its LAN."""

    def __init__(self, pods: int = 2, *, dual: bool = False) -> None:
        sh("mount -t tmpfs none /run && mkdir -p /run/netns && ip link set lo up")
        sh(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 "
            "net.ipv4.icmp_msgs_burst=100000 net.ipv4.conf.all.send_redirects=0 || true"
        )
        if dual:
            sh(NO_DAD)
        sh("ip link add cni0 type bridge && ip addr add 10.42.0.1/24 dev cni0 && ip link set cni0 up")
        Path("/proc/sys/net/ipv4/conf/cni0/send_redirects").write_text("0")
        self.pods = [f"pod{number}" for number in range(pods)]
        for number, pod in enumerate(self.pods):
            self._host(pod, f"10.42.0.{number + 2}/24", "10.42.0.1", dual=dual)
            sh(f"ip link set {pod} master cni0 && bridge link set dev {pod} hairpin on")
        self._host("outside", f"{OUTSIDE_IP}/24", NODE_IP, dual=dual)
        sh(f"ip addr add {NODE_IP}/24 dev outside && ip route add default via {OUTSIDE_IP}")
        if dual:
            self._add_ipv6()

    def _add_ipv6(self) -> None:
        """The same once more in IPv6: pods fd42::2 and up, the LAN fd00:2::/64."""
        sh("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.icmp.ratelimit=0 || true")
        sh("ip addr add fd42::1/64 dev cni0 nodad")
        for number, pod in enumerate(self.pods):
            sh(f"ip -n {pod} addr add fd42::{number + 2}/64 dev eth0 nodad")
            sh(f"ip -n {pod} route add default via fd42::1")
        sh(f"ip addr add {NODE_IP6}/64 dev outside nodad")
        sh(f"ip -n outside addr add {OUTSIDE_IP6}/64 dev eth0 nodad")
        sh(f"ip -n outside route add default via {NODE_IP6} && ip -6 route add default via {OUTSIDE_IP6}")

    @staticmethod
    def _host(name: str, address: str, gateway: str, *, dual: bool) -> None:
        sh(f"ip netns add {name}")
        if dual:
            sh(f"ip netns exec {name} {NO_DAD}")
        sh(f"ip link add {name} type veth peer name eth0 netns {name}")
        sh(f"ip link set {name} up")
        sh(
            f"ip -n {name} addr add {address} dev eth0 && ip -n {name} link set eth0 up && "
            f"ip -n {name} link set lo up && ip -n {name} route add default via {gateway}"
        )


def family_of(host: str) -> socket.AddressFamily:
    """The family of an address's text."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def echo(place: str, port: int, name: str, host: str = "0.0.0.0") -> None:
    """Answer on TCP and UDP ``port`` at ``place`` with "name peer-address" until the namespaces end."""
    family = family_of(host)
    with netns(place):
        stream, datagram = (
            socket.create_server((host, port), family=family, backlog=512),
            socket.socket(family, socket.SOCK_DGRAM),
        )
        datagram.bind((host, port))

    def streams() -> None:
        while True:
            connection, peer = stream.accept()
            connection.sendall(f"{name} {peer[0]}".encode())
            connection.close()

    def datagrams() -> None:
        while True:
            _, peer = datagram.recvfrom(100)
            datagram.sendto(f"{name} {peer[0]}".encode(), peer)

    for job in (streams, datagrams):
        threading.Thread(target=job, daemon=True).start()


def ask(place: str, host: str, port: int, timeout: float = 1.0) -> str:
    """What a new TCP connection from ``place`` meets: "name seen-address", "refused", "timeout" or another
    error."""
    with netns(place):
        made = socket.socket(family_of(host))
    made.settimeout(timeout)
    try:
        made.connect((host, port))
        return made.recv(100).decode()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return os.strerror(error.errno or 0)
    finally:
        made.close()


def ask_udp(place: str, host: str, port: int, timeout: float = 1.0, made: socket.socket | None = None) -> str:
    """The same for one datagram; ``made`` is a socket to use again."""
    if made is None:
        with netns(place):
            made = socket.socket(family_of(host), socket.SOCK_DGRAM)
    made.settimeout(timeout)
    try:
        made.connect((host, port))
        made.send(b"?")
        return made.recv(100).decode()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """True as soon as ``condition`` holds; False when it does not within ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    found = getattr(__import__(module, fromlist=["x"]), function)
    sys.stdout.write(json.dumps(found(*json.loads(sys.argv[2]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # echo threads never end
