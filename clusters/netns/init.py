"""The init of one host: process 1 of its own PID namespace, and the fork server of all that runs there.

It takes orders from the machine over one socket (``spawn``, ``kill``, ``signal``, ``clear``, ``preload``) and
reports every end. It has one thread and no event loop, so that a fork is always safe. When it is killed, the
kernel ends everything on the host: that is what a power cut looks like.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from clusters.netns import kernel, wire
from clusters.netns.program import Program, run_child


def enter_host(name: str, network: int, run_folder: str) -> None:
    """Take on the host's namespaces: network, mounts (own /proc, /sys, /run), host name. Raises OSError."""
    kernel.setns(network, kernel.CLONE_NEWNET)
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS)
    kernel.sethostname(name)
    kernel.name_process(f"init {name}")
    for kind in ("proc", "sysfs"):
        with suppress(PermissionError):  # inside a container the host's own view may be all there is
            kernel.mount(kind, "/proc" if kind == "proc" else "/sys", kind)
    folder = os.open(run_folder, os.O_RDONLY | os.O_CLOEXEC)
    # Its own /run: a shared lock file of iptables once stalled another node for 2.7 s.
    kernel.mount("run", "/run", "tmpfs", data="mode=755")
    if not Path(run_folder).exists():  # it was below /run
        Path(run_folder).mkdir(parents=True)
        kernel.bind(f"/proc/self/fd/{folder}", run_folder)
    os.close(folder)


class Init:
    """The loop of a host's init."""

    def __init__(self, orders: int) -> None:
        self._orders = socket.socket(fileno=orders)
        self._running: dict[int, str] = {}  # process number here -> id of the machine
        self._wake, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def serve(self) -> NoReturn:
        """Take orders until the machine is gone."""
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = [fd for fd, _event in poll.poll()]
            if self._wake in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake, 65536)
                self._reap()
            if self._orders.fileno() in ready:
                message, fds = wire.receive(self._orders)
                if message is None:
                    os._exit(0)
                self._obey(message, fds)
                for fd in fds:
                    os.close(fd)

    def _reap(self) -> None:
        """Report every child that ended; one signal may stand for many."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if number := self._running.pop(pid, ""):
                self._tell({"event": "exit", "id": number, "status": os.waitstatus_to_exitcode(status)})

    def _obey(self, message: wire.Message, fds: list[int]) -> None:
        if message["op"] == "spawn":
            self._spawn(message, fds)
        elif message["op"] == "kill":
            self._kill(message)
        elif message["op"] == "signal":
            pids = signal_family(message["pids"], message["signal"])
            self._tell({"event": "signalled", "pids": sorted(pids), "at": time.monotonic()})
        elif message["op"] == "clear":
            for pid in _in_network(message["network"]):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif message["op"] == "preload":
            for name in message["names"]:
                preload(name)
            self._tell({"event": "preloaded"})

    def _spawn(self, message: wire.Message, fds: list[int]) -> None:
        program = Program.from_json(message["program"])
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self._orders.detach()  # the number may be taken over; no destructor may close it then
            run_child(program, fds)
        self._running[pid] = message["id"]
        self._tell({"event": "started", "id": message["id"], "pid": pid})

    def _kill(self, message: wire.Message) -> None:
        """Signal one program; with ``all`` its whole process group."""
        for pid, number in list(self._running.items()):
            if number == message["id"]:
                with suppress(ProcessLookupError):
                    os.kill(pid, message["signal"])
                if message.get("all"):
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, message["signal"])

    def _tell(self, event: wire.Message) -> None:
        try:
            wire.send(self._orders, event)
        except OSError:
            os._exit(0)  # the machine is gone, and with it the reason to be


def signal_family(first: Iterable[int], number: int) -> set[int]:
    """Signal processes, their sessions and all descendants (0: only look); gives which.

    Looks again after each round: a process may have forked between the look and its signal.
    """
    done: set[int] = set()
    while fresh := family(first, _processes()) - done:
        for pid in fresh:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        done |= fresh
    return done


def family(first: Iterable[int], processes: Mapping[int, tuple[int, int]]) -> set[int]:
    """Processes, their sessions and all descendants, of (parent, session) by process number. Pure."""
    heads = set(first)
    found = {pid for pid, (_parent, session) in processes.items() if heads & {pid, session}}
    while more := {pid for pid, (parent, _session) in processes.items() if parent in found} - found:
        found |= more
    return found


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every living process of this host, by its number (proc(5), stat)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != "1":
            with suppress(OSError):
                state, parent, _group, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in "ZX":
                    found[int(entry.name)] = (int(parent), int(session))
    return found


def _in_network(inode: int) -> list[int]:
    """All processes of this host in the network namespace with this inode."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != "1":
            with suppress(OSError):
                if (entry / "ns" / "net").stat().st_ino == inode:
                    found.append(int(entry.name))
    return found


def preload(name: str) -> None:
    """Import a module by name; one that cannot be imported says so when it is started, not now."""
    try:
        importlib.import_module(name.partition(":")[0])
    except Exception as error:
        print(f"preload {name}: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
