"""Kernel settings the rules rely on, and those of connection tracking that an administrator chose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROUTE_LOCALNET = "net/ipv4/conf/all/route_localnet"
BE_LIBERAL = "net/netfilter/nf_conntrack_tcp_be_liberal"
MOST = "net/netfilter/nf_conntrack_max"
_SYS = Path("/proc/sys")


def read(name: str, root: Path = _SYS) -> str:
    """The value of a setting, or the empty string where the kernel has none of that name."""
    try:
        return (root / name).read_text().strip()
    except OSError:
        return ""


def ensure(name: str, value: str, why: str, root: Path = _SYS) -> str:
    """Set ``name`` unless it has the value already; gives a sentence when that is impossible, else "".

    In a container /proc/sys is often read-only. That is no reason to stop: only what the sentence names is
    lost.
    """
    if read(name, root) == value:
        return ""
    try:
        (root / name).write_text(value)
    except OSError as error:
        return f"sysctl {name.replace('/', '.')}={value} cannot be set ({error.strerror}): {why}"
    return ""


class Tracking(msgspec.Struct, frozen=True):
    """Chosen limits of connection tracking; 0 leaves a setting as it is. Times in seconds (upstream's
    defaults)."""

    max_per_core: int = 32_768
    minimum: int = 131_072
    established: float = 86_400.0
    close_wait: float = 3_600.0
    udp: float = 0.0
    udp_stream: float = 0.0
    be_liberal: bool = False


def tracking(chosen: Tracking, cores: int | None = None) -> Iterator[tuple[str, int]]:
    """The settings that follow, by name."""
    most = chosen.max_per_core * (cores or os.cpu_count() or 1)
    if most:
        yield MOST, max(most, chosen.minimum)
    for name, seconds in (
        ("tcp_timeout_established", chosen.established),
        ("tcp_timeout_close_wait", chosen.close_wait),
        ("udp_timeout", chosen.udp),
        ("udp_timeout_stream", chosen.udp_stream),
    ):
        if seconds:
            yield f"net/netfilter/nf_conntrack_{name}", round(seconds)
    if chosen.be_liberal:
        yield BE_LIBERAL, 1


def apply_tracking(chosen: Tracking, root: Path = _SYS) -> list[str]:
    """Bring these settings into force; gives a sentence for each that cannot be set. The number of
    connections is only raised: another program of the host may need more than we do."""
    problems = []
    for name, value in tracking(chosen):
        now = read(name, root)
        if name == MOST and now.isdecimal() and int(now) >= value:
            continue
        problems.append(
            ensure(name, str(value), f"connection tracking keeps {now or 'no such setting'}", root)
        )
    return [problem for problem in problems if problem]
