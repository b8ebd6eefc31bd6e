"""The program on a node or at a sender while a connection is followed; standard library only, one file.

    watch TABLE MARK SECONDS RULES   make the table, tell what the kernel traces until a packet with MARK,
                                     remove the table; gives JSON
    listens SECONDS                  wait until somebody in this network listens to the kernel's traces
    send HOST PORT tcp|udp CODE SECONDS   one connection or datagram with that code point; gives JSON
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_TRACED_RULE = re.compile(r"trace id \w+ (\w+) (\S+) \S+ rule (.*)")
_NAMED = re.compile(r"@([A-Za-z_][\w/.-]*)")
_OLD = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")
_NETFILTER, _TRACES = "12", 1 << 8  # NETLINK_NETFILTER, and NFNLGRP_NFTRACE as a bit of its groups


def _nft(*words: str, given: str | None = None) -> tuple[int, str, str]:
    done = subprocess.run(["nft", *words], input=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def watch(table: str, mark: str, seconds: float, rules: str) -> dict[str, Any]:
    """What the kernel traced until the packet with ``mark``, or ``seconds`` have passed."""
    status, _said, error = _nft("-f", "-", given=rules)
    if status:
        return {"error": error.strip()}
    try:
        lines, complete = _traced(mark.encode(), time.monotonic() + seconds)
        return {"lines": lines, "complete": complete, "chains": _nft("-a", "-s", "-t", "list", "ruleset")[1],
                "sets": _sets(lines), "legacy": _legacy()}
    finally:
        _nft("delete", "table", "inet", table)


def _traced(mark: bytes, end: float) -> tuple[list[str], bool]:
    seen, complete = b"", False
    monitor = subprocess.Popen(["stdbuf", "-oL", "nft", "monitor", "trace"], stdout=subprocess.PIPE)
    assert monitor.stdout is not None
    try:
        while not complete and (left := end - time.monotonic()) > 0:
            if select.select([monitor.stdout], [], [], left)[0]:
                piece = os.read(monitor.stdout.fileno(), 65536)
                if not piece:
                    break
                seen += piece
                complete = mark in seen
    finally:
        monitor.kill()
        monitor.wait()
    return seen.decode("utf-8", "replace").splitlines(), complete


def _sets(lines: list[str]) -> dict[str, Any]:
    """The sets and maps that traced rules name, as nft's JSON, by family, table and name."""
    named = dict.fromkeys(
        (match[1], match[2], name) for line in lines if (match := _TRACED_RULE.match(line))
        for name in _NAMED.findall(match[3]))
    found = {}
    for where in named:
        for kind in ("map", "set"):
            status, said, _error = _nft("-j", "list", kind, *where)
            if status == 0 and said:
                found[" ".join(where)] = json.loads(said)
                break
    return found


def _legacy() -> list[str]:
    """Tables of iptables-legacy in this network."""
    names = []
    for path in _OLD:
        if os.access(path, os.R_OK):
            names += Path(path).read_text().split()
    return sorted(set(names))


def listens(seconds: float) -> bool:
    """True once somebody listens, False when nobody does within ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
        if any(row[1] == _NETFILTER and int(row[3], 16) & _TRACES for row in rows):
            return True
        time.sleep(0.01)
    return False


def send(host: str, port: int, protocol: str, code: int, seconds: float) -> dict[str, Any]:
    """Connect, or send a datagram and wait for an answer (not when ``seconds`` is 0); how it went."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    ip6 = family == socket.AF_INET6
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ip6 else (socket.IPPROTO_IP, socket.IP_TOS)
    began, said = time.monotonic(), "connected"
    with socket.socket(family, kind) as made:
        made.setsockopt(level, option, code << 2)
        made.settimeout(seconds)
        try:
            made.connect((host, port))
            if protocol == "udp":
                made.send(b"\n")
                said = "sent"
                if seconds:
                    made.recv(65536)
                    said = "answered"
        except TimeoutError:
            said = "timed out" if protocol == "tcp" else "not answered"
        except (ConnectionRefusedError, ConnectionResetError):
            said = "refused"
        except OSError as error:
            said = f"unreachable: {error.strerror}"
    return {"outcome": said, "ms": round((time.monotonic() - began) * 1000, 2)}


def main(words: list[str]) -> int:
    """Do what the first word says."""
    if words[0] == "listens":
        return 0 if listens(float(words[1])) else 1
    if words[0] == "watch":
        said = watch(words[1], words[2], float(words[3]), words[4])
    else:
        said = send(words[1], int(words[2]), words[3], int(words[4]), float(words[5]))
    sys.stdout.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
