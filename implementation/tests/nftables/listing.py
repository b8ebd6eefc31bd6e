"""What the kernel serves in mode nftables, as the tool ``nft`` tells it: nothing of our own decoder is
used."""

from __future__ import annotations

import re

from implementation.tests.lab import sh

Elements = dict[str, list[str]]
_BLOCK = re.compile(r"\t(?:map|set) (\S+) \{\n(.*?)\n\t\}", re.DOTALL)


def listed(family: str = "ip") -> dict[str, Elements]:
    """Set or map → key → value, each field apart."""
    found: dict[str, Elements] = {}
    for name, body in _BLOCK.findall(sh(f"nft -n list table {family} kp")):
        inside = re.search(r"elements = \{(.*)\}", body, re.DOTALL)
        found[name] = {}
        for one in inside[1].split(",") if inside else ():
            key, _, value = re.sub(r' comment "[^"]*"', "", one).strip().partition(" : ")
            found[name][key] = value.split(" . ") if value else []
    return found


def dump(family: str = "ip") -> list[str]:
    """What is served, in the words of the fake."""
    every = listed(family)
    lines = [
        f"{_where(key)} {_fate(key, every, every[leads][key][1])}"
        for leads in ("noep", "svc")
        for key in every[leads]
        if leads == "noep" or key not in every["noep"]
    ]
    for leads in ("noep_nodeports", "nodeports"):
        for key in every[leads]:
            if leads == "noep_nodeports" or key not in every["noep_nodeports"]:
                protocol, port = key.split(" . ")
                zero = f"{'::' if family == 'ip6' else '0.0.0.0'} . {protocol} . {port}"
                lines.append(f"{_name(protocol)} node:{port} {_fate(zero, every, every[leads][key][1])}")
    return sorted(lines)


def _where(key: str) -> str:
    address, protocol, port = key.split(" . ")
    return f"{_name(protocol)} {address}:{port}"


def _name(protocol: str) -> str:
    return {"6": "tcp", "17": "udp", "132": "sctp"}.get(protocol, protocol)


def _fate(key: str, every: dict[str, Elements], number: str) -> str:
    """Where a variant leads: the endpoints of the rows it picks from, in order of their text."""
    target = (every["variant"].get(number) or every["fate"].get(number) or [""])[0]
    if target in ("goto reject", "goto drop-here"):
        return {"goto reject": "reject", "goto drop-here": "drop"}[target]
    local = "_local" in target or (target.startswith("goto keep") and not target.endswith("_0"))
    name, prefix = "endpoints", key
    if "_aff" in target:
        name, prefix = "aff_endpoints", every["aff_local_ids" if local else "aff_ids"][key][1]
    start = 0x10000 if local else 0
    found: list[str] = []
    while (row := every[name].get(f"{prefix} . {start + len(found):#010x}")) is not None:
        found.append(":".join(row[-2:]))
    return "-> " + ",".join(sorted(found))
