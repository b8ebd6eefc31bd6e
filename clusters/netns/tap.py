"""The passive tap on the switch: a process of its own that notes frames until it is told to stop.

What is noted: frames that come in on a port of the switch and are ARP, or IPv4 TCP or UDP to or from a load
balancer address (192.168.2.200-225), the outside host, or a node's own address with a node port. The kernel
chooses (classic BPF) and cuts each frame at 128 bytes, so that a busy cluster costs this process little.
"""

from __future__ import annotations

import ctypes
import ipaddress
import itertools
import mmap
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from clusters.netns import plan

LONGEST = 128  # bytes of a frame
MOST = 64 * 1024 * 1024  # bytes of all frames; about ten minutes of one that is seen every millisecond
POOL = ("192.168.2.200", "192.168.2.225")
NODE_PORTS = (30000, 32767)
_HEAD = struct.Struct("=II")  # frames the kernel lost, whether there was no more room
_RECORD = struct.Struct("=dII")  # when, number in the port's name, length
_ETH_P_ALL, _SO_ATTACH_FILTER = 3, 26
_SOL_PACKET, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 263, 5, 6, 10
_SLOT, _SLOTS, _BLOCK = 256, 32768, 1 << 16  # bytes a frame, frames, bytes the kernel takes in one piece
_OURS, _OUTGOING = 1, 4  # TP_STATUS_USER, PACKET_OUTGOING
_ARP, _IPV4, _TCP, _UDP = 0x0806, 0x0800, 6, 17
# linux/bpf_common.h: load byte, half, word; at X + k; header length into X; jumps; return.
_LDB, _LDH, _LDW, _LDH_X, _LDX_IHL, _RET = 0x30, 0x28, 0x20, 0x48, 0xB1, 0x06
_JEQ, _JGT, _JGE, _JSET = 0x15, 0x25, 0x35, 0x45
_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF; + 4: packet type, + 8: interface index
_Line = tuple[str, int, int, str, str]  # label, code, k, where to when true, where to when false


def program(bridge: int, nodes: tuple[str, str]) -> bytes:
    """The filter as classic BPF; ``bridge`` is its index, ``nodes`` the first and last node address."""
    first, last = (int(ipaddress.IPv4Address(address)) for address in POOL)
    lowest, highest = (int(ipaddress.IPv4Address(address)) for address in nodes)
    outside = int(ipaddress.IPv4Address(plan.OUTSIDE))

    def side(name: str, address: int, port: int, otherwise: str) -> list[_Line]:
        """Source or destination: its address lies at ``address``, its port at ``port`` after the header."""
        return [
            (name, _LDW, address, "", ""),
            ("", _JEQ, outside, "take", ""), ("", _JGE, first, "", f"{name}-node"),
            ("", _JGT, last, "", "take"),
            (f"{name}-node", _JGE, lowest, "", otherwise), ("", _JGT, highest, otherwise, ""),
            ("", _LDH_X, port, "", ""), ("", _JGE, NODE_PORTS[0], "", otherwise),
            ("", _JGT, NODE_PORTS[1], otherwise, "take"),
        ]

    lines: list[_Line] = [
        ("", _LDW, _ANCILLARY + 4, "", ""), ("", _JEQ, _OUTGOING, "drop", ""),
        ("", _LDW, _ANCILLARY + 8, "", ""), ("", _JEQ, bridge, "drop", ""),
        ("", _LDH, 12, "", ""), ("", _JEQ, _ARP, "take", ""), ("", _JEQ, _IPV4, "", "drop"),
        ("", _LDB, 23, "", ""), ("", _JEQ, _TCP, "sides", ""), ("", _JEQ, _UDP, "", "drop"),
        ("sides", _LDX_IHL, 14, "", ""),
        *side("source", 26, 14, "target"), *side("target", 30, 16, "drop"),
        ("drop", _RET, 0, "", ""), ("take", _RET, LONGEST, "", ""),
    ]
    return assemble(lines)


def assemble(lines: Sequence[_Line]) -> bytes:
    """Labels to distances: struct sock_filter, one after the other. KeyError: an unknown label. Pure."""
    at = {line[0]: number for number, line in enumerate(lines) if line[0]}

    def distance(number: int, label: str) -> int:
        return at[label] - number - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", code, distance(number, true), distance(number, false), value)
        for number, (_label, code, value, true, false) in enumerate(lines)
    )


def main(args: Sequence[str]) -> int:
    """Note frames until the other end of descriptor 3 is closed; then write them to the file ``args[0]``.

    ``args[1]``: the index of the bridge, whose own view would show frames twice; ``args[2:4]``: the first and
    last node address. Says ``r`` on descriptor 3 when it sees every frame from then on.
    """
    file, bridge, nodes = Path(args[0]), int(args[1]), (args[2], args[3])
    everything = socket.htons(_ETH_P_ALL)
    with socket.socket(fileno=3) as end, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, everything) as tap:
        ring = _prepare(tap, program(bridge, nodes))
        end.send(b"r")
        noted, full = _note(tap, ring, end)
        lost = struct.unpack("=II", tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
    file.write_bytes(_HEAD.pack(lost, full) + noted)
    return 0


def _prepare(tap: socket.socket, filters: bytes) -> Iterator[bytes | None]:
    """Filter, and a ring of memory shared with the kernel; gives its records, None when there is none.

    A ring, as the kernel bounds other buffers to 250 frames for who is not root outside (packet(7)).
    """
    held = ctypes.create_string_buffer(filters)
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER,
                   struct.pack("@HP", len(filters) // 8, ctypes.addressof(held)))
    tap.setsockopt(_SOL_PACKET, _PACKET_VERSION, 1)  # TPACKET_V2
    request = struct.pack("=IIII", _BLOCK, _SLOT * _SLOTS // _BLOCK, _SLOT, _SLOTS)
    tap.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
    memory = mmap.mmap(tap.fileno(), _SLOT * _SLOTS)
    tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)  # reading begins the count of lost frames anew
    return _records(memory)


def _note(tap: socket.socket, ring: Iterator[bytes | None], end: socket.socket) -> tuple[bytearray, bool]:
    """All frames until ``end`` says so, and whether there was no room for more."""
    noted, full, stop = bytearray(), False, False
    poll = select.poll()
    poll.register(tap, select.POLLIN)
    poll.register(end, select.POLLIN | select.POLLHUP)
    while True:
        stop = stop or any(fd == end.fileno() for fd, _event in poll.poll())
        for record in itertools.islice(ring, 2 * _SLOTS):  # then look again whether to stop
            if record is None:
                break
            full = full or len(noted) + len(record) > MOST
            if not full:
                noted += record
        if stop:
            return noted, full


def _records(memory: mmap.mmap) -> Iterator[bytes | None]:
    """The ring's frames as they come: struct tpacket2_hdr, sockaddr_ll, bytes (linux/if_packet.h)."""
    ports: dict[int, int] = {}
    at = 0
    while True:
        status, _long, size, start, _net, seconds, rest = struct.unpack_from("=IIIHHII", memory, at)
        if not status & _OURS:
            yield None
            continue
        index = struct.unpack_from("=i", memory, at + 36)[0]
        if index not in ports:
            ports[index] = int(socket.if_indextoname(index).rpartition("-")[2])
        # The kernel's stamp is of the wall clock, which may be set: only the frame's age is used.
        age = (time.time_ns() - seconds * 1_000_000_000 - rest) / 1e9
        record = _RECORD.pack(time.monotonic() - age, ports[index], size)
        record += memory[at + start:at + start + size]
        struct.pack_into("=I", memory, at, 0)  # the slot is the kernel's again
        at = (at + _SLOT) % (_SLOT * _SLOTS)
        yield record


def read(file: Path) -> tuple[list[tuple[float, int, bytes]], int, bool]:
    """Frames (when, number of the port, bytes), how many the kernel lost, whether there was no more room."""
    text = file.read_bytes()
    lost, full = _HEAD.unpack_from(text)
    frames, at = [], _HEAD.size
    while at < len(text):
        when, number, length = _RECORD.unpack_from(text, at)
        at += _RECORD.size + length
        frames.append((when, number, text[at - length:at]))
    return frames, lost, bool(full)
