"""The few system calls Python 3.11 does not offer: namespaces, mounts, host name (see namespaces(7)).

Python 3.12 has ``os.setns`` and ``os.unshare``; the oldest supported Python is 3.11, so ctypes calls libc.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x04000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "armv7l": 218, "riscv64": 41}
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give this process new namespaces of its own; OSError names what was refused."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace that ``fd`` refers to (for a PID namespace: only children do)."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), f"setns {kind:#x}")


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); OSError names source and target."""
    result = _libc.mount(
        source.encode(), str(target).encode(), kind.encode() or None, ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(result, f"mount {source} on {target}")


def bind(source: str | Path, target: str | Path) -> None:
    """Make ``source`` visible at ``target``, with all that is mounted below it.

    Recursive because an unprivileged user namespace may not take a single layer of inherited mounts.
    """
    mount(str(source), target, flags=MS_BIND | MS_REC)


def pivot_root(new_root: str) -> None:
    """Make ``new_root`` (a mount point) the root of this mount namespace and drop the old one."""
    os.chdir(new_root)
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(f"pivot_root: no system call number known for {os.uname().machine}")
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), f"pivot_root {new_root}")
    _check(_libc.umount2(b".", ctypes.c_int(_MNT_DETACH)), "umount of the old root")
    os.chdir("/")


def read_only(path: str) -> None:
    """Make what is mounted at ``path``, and below it, read-only in this mount namespace.

    mount_setattr(2), Linux 5.12; on an older kernel the mounts stay as they are.
    """
    attributes = struct.pack("=QQQQ", 1, 0, 0, 0)  # set MOUNT_ATTR_RDONLY
    result = _libc.syscall(
        ctypes.c_long(442), ctypes.c_int(-100), path.encode(), ctypes.c_uint(0x8000), attributes,
        ctypes.c_size_t(len(attributes)),
    )
    if result != 0 and ctypes.get_errno() != errno.ENOSYS:
        _check(result, f"read-only {path}")


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace."""
    socket.sethostname(name)


def name_process(name: str) -> None:
    """Set the name that ps and top show (15 bytes of it)."""
    _libc.prctl(ctypes.c_int(15), name.encode()[:15], 0, 0, 0)


def own_network() -> int:
    """A descriptor of the network namespace this thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def new_network() -> int:
    """Make a network namespace and give its descriptor; the caller stays where it was."""
    back = own_network()
    try:
        unshare(CLONE_NEWNET)
        made = own_network()
        setns(back, CLONE_NEWNET)
    finally:
        os.close(back)
    return made


@contextlib.contextmanager
def in_network(fd: int) -> Iterator[None]:
    """Be in another network namespace for the length of the block (this thread only).

    A socket belongs for ever to the namespace it was made in, so the block need only make it.
    """
    back = own_network()
    try:
        setns(fd, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(back, CLONE_NEWNET)
    finally:
        os.close(back)


def tx_checksums_off(interface: str) -> None:
    """Have the kernel fill in checksums at once, so that taps and eBPF programs see whole packets.

    A veth otherwise leaves them to a card that is not there (ethtool -K IF tx off).
    """
    value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    request = bytearray(struct.pack("16sP16x", interface.encode(), ctypes.addressof(value)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
