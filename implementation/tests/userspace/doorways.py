"""What mode userspace serves: the tool ``nft`` tells which socket a client is led to, the process what is
behind."""

from __future__ import annotations

import re

from implementation.dataplane.userspace import Userspace
from implementation.tests.lab import sh

_BLOCK = re.compile(r"\t(?:map|set) (\S+) \{\n(.*?)\n\t\}", re.DOTALL)
_NAMES = {"6": "tcp", "17": "udp", "132": "sctp"}


def listed(family: str = "ip") -> dict[str, dict[str, str]]:
    """Set or map → key → value."""
    found: dict[str, dict[str, str]] = {}
    for name, body in _BLOCK.findall(sh(f"nft -n list table {family} kp-userspace")):
        inside = re.search(r"elements = \{(.*)\}", body, re.DOTALL)
        pairs = (one.strip().partition(" : ") for one in (inside[1].split(",") if inside else ()))
        found[name] = {key: value for key, _, value in pairs}
    return found


def dump(dataplane: Userspace, family: str = "ip") -> list[str]:
    """What is served, in the words of the fake."""
    behind = {str(made.port): made.turns.endpoints for made in dataplane._sockets.values()}
    lines = []
    for name, rows in listed(family).items():
        for key, port in rows.items():
            fate = {"refuse": "reject", "drop": "drop"}.get(name.removesuffix("_ports"))
            if name in ("doors", "ports"):
                fate = "-> " + ",".join(one.target for one in behind[port])
            if fate:
                *address, protocol, number = key.split(" . ")
                lines.append(
                    f"{_NAMES.get(protocol, protocol)} {address[0] if address else 'node'}:{number} {fate}"
                )
    return sorted(lines)
