"""Kernel settings the rules rely on."""

from __future__ import annotations

from pathlib import Path

ROUTE_LOCALNET = "net/ipv4/conf/all/route_localnet"
BE_LIBERAL = "net/netfilter/nf_conntrack_tcp_be_liberal"
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
