"""Asks by ARP who has an address, and notes every ARP frame about it; runs on a host of the nodes' network.

One file, standard library, run as ``python3 -c SOURCE INTERFACE ADDRESS SECONDS INTERVAL``, never at the
place that probes: an answer to its own question would freshen that client's cache and heal what is measured.
Prints one JSON object: this host's address, and every frame as [at, operation, sender MAC, sender IP, target
MAC, target IP, destination MAC], ``at`` on CLOCK_MONOTONIC; ``asked`` holds when each question went out.
"""

from __future__ import annotations

import fcntl
import json
import select
import socket
import struct
import sys
import time

ARP = 0x0806
_OWN_ADDRESS = 0x8915  # SIOCGIFADDR
_OUTGOING = 4


def dotted(data: bytes) -> str:
    """An IPv4 address in words."""
    return ".".join(map(str, data))


def coloned(data: bytes) -> str:
    """A MAC address in words."""
    return ":".join(f"{byte:02x}" for byte in data)


def own_address(interface: str) -> bytes:
    """The IPv4 address of an interface of this host; OSError when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        answer = fcntl.ioctl(wire.fileno(), _OWN_ADDRESS, struct.pack("256s", interface.encode()[:15]))
    return answer[20:24]


def question(mac: bytes, own: bytes, wanted: bytes) -> bytes:
    """A broadcast who-has frame."""
    head = b"\xff" * 6 + mac + struct.pack("!HHHBBH", ARP, 1, 0x0800, 6, 4, 1)
    return (head + mac + own + bytes(6) + wanted).ljust(60, b"\0")


def main(argv: list[str]) -> int:
    """Ask and listen until the time is over."""
    interface, address, seconds, interval = argv[0], argv[1], float(argv[2]), float(argv[3])
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
    wire.bind((interface, ARP))
    own, mac = own_address(interface), wire.getsockname()[4]
    asking = question(mac, own, socket.inet_aton(address))
    seen: list[list[object]] = []
    asked: list[float] = []
    began = time.monotonic()
    end, due = began + seconds, began
    while (now := time.monotonic()) < end:
        if now >= due:
            wire.send(asking)
            asked.append(now)
            due += interval
        if not select.select([wire], [], [], max(0.0, min(due, end) - time.monotonic()))[0]:
            continue
        data, source = wire.recvfrom(256)
        if source[2] == _OUTGOING or len(data) < 42:
            continue
        sender, target = dotted(data[28:32]), dotted(data[38:42])
        if address in (sender, target):
            operation = struct.unpack("!H", data[20:22])[0]
            macs = coloned(data[22:28]), coloned(data[32:38]), coloned(data[:6])
            seen.append([time.monotonic(), operation, macs[0], sender, macs[1], target, macs[2]])
    sys.stdout.write(json.dumps({"own": dotted(own), "asked": asked, "seen": seen}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
