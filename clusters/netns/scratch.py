"""What the embedded cluster needs of the kernel, each tried for real in namespaces that end at once.

Run inside ``unshare``; prints one JSON object: what was tried → empty, or why it failed.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from clusters import commands
from clusters.netns import kernel
from clusters.netns.rtnetlink import Route

_SECONDS = 5.0  # patience for one trial
_NFT = """
table ip trial {
  chain prerouting { type nat hook prerouting priority dstnat;
    dnat to numgen random mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; ct mark 1 masquerade
  }
  chain forward {
    type filter hook forward priority filter; tcp dport 1 reject with tcp reset
  }
}
"""
_TRACE = """
table inet trial-trace {
  chain prerouting { type filter hook prerouting priority -400; ip dscp 0x2b meta nftrace set 1; }
}
"""
_IPTABLES: Mapping[str, tuple[str, ...]] = {
    "iptables statistic": ("-t", "nat", "-A", "OUTPUT", "-m", "statistic", "--mode", "random",
                           "--probability", "0.5", "-j", "RETURN"),
    "iptables recent": ("-t", "nat", "-A", "OUTPUT", "-m", "recent", "--name", "trial", "--set"),
    "iptables addrtype": ("-t", "nat", "-A", "OUTPUT", "-m", "addrtype", "--dst-type", "LOCAL",
                          "-j", "RETURN"),
    "iptables MASQUERADE": ("-t", "nat", "-A", "POSTROUTING", "-m", "mark", "--mark", "0x4000/0x4000",
                            "-m", "comment", "--comment", "trial", "-j", "MASQUERADE", "--random-fully"),
    "iptables DNAT": ("-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "DNAT",
                      "--to-destination", "10.0.0.1:80"),
    "iptables conntrack": ("-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"),
    "iptables REJECT": ("-A", "FORWARD", "-j", "REJECT", "--reject-with", "icmp-port-unreachable"),
}


def _said(*argv: str, stdin: str | None = None) -> str:
    """Empty when the program did its work; else its last words."""
    done = commands.run(argv, timeout=_SECONDS, stdin=stdin)
    if done.status == 0:
        return ""
    words = (done.error or done.output).strip().splitlines() or [f"status {done.status}"]
    return next((line for line in words if "rror" in line), words[-1])  # nft shows the place after it


def _devices() -> str:
    with Route() as route:
        route.up("lo")
        route.bridge("br0", "02:ff:00:00:00:01")
        route.veth("to-0", "02:00:00:00:00:02", "eth0", "02:00:00:00:00:03", kernel.own_network())
        route.up("to-0", master="br0")
    return ""


def _settings() -> str:
    for name in ("ip_forward", "icmp_ratelimit", "conf/all/send_redirects", "conf/all/rp_filter"):
        path = Path("/proc/sys/net/ipv4") / name
        path.write_text(path.read_text())
    return ""


def _nested() -> str:
    """A host of the cluster: its own network, mounts and name, with its own /run and /proc."""
    child = os.fork()
    if child == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS)
            kernel.sethostname("trial")
            kernel.mount("run", "/run", "tmpfs")
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "" if status == 0 else os.strerror(status)


def _processes() -> str:
    """A /proc of one's own; the kernel refuses it where a container has parts of the host's masked."""
    kernel.mount("proc", "/proc", "proc")
    return ""


def _raw_socket() -> str:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    return ""


def trials() -> dict[str, Callable[[], str]]:
    """Every trial by its name; each gives an empty text or raises OSError or says why it failed."""
    found: dict[str, Callable[[], str]] = {
        "own /proc": _processes, "hosts in namespaces": _nested, "veth and bridge": _devices,
        "network settings": _settings, "packet sockets": _raw_socket,
        "nftables nat and maps": lambda: _said("nft", "-f", "-", stdin=_NFT),
        "packet traces": lambda: _said("nft", "-f", "-", stdin=_TRACE),
        "connection tracking": lambda: _said("conntrack", "-L"),
    }
    for name, words in _IPTABLES.items():
        found[name] = lambda words=words: _said("iptables", "-w", *words)  # type: ignore[misc]
    return found


def main() -> int:
    """Print what came of each trial."""
    told = {}
    for name, trial in trials().items():
        try:
            told[name] = trial()
        except OSError as error:
            told[name] = str(error)
    sys.stdout.write(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
