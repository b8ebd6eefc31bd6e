"""The process every host init is forked from: loads modules once, then waits for orders.

It has one thread, no event loop, and makes no TLS object before a fork.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from clusters.netns import kernel, wire
from clusters.netns.init import Init, enter_host, preload


def serve(orders: socket.socket, run_folder: str, first: Sequence[str], later: Sequence[str]) -> NoReturn:
    """Fork the host inits the machine asks for; the first one (the API server's) before ``later`` loads."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries dead inits; the machine hears the end
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    for name in first:
        preload(name)
    loaded = False
    while True:
        gc.collect()
        gc.freeze()  # fewer pages are copied when a child's collector runs
        message, fds = wire.receive(orders)
        if message is None:
            os._exit(0)
        pid = _host(message, fds, orders, run_folder, own)
        for fd in fds:
            os.close(fd)
        with suppress(OSError):
            wire.send(orders, {"event": "host", "name": message["name"], "pid": pid})
        if not loaded:
            loaded = True
            for name in later:
                preload(name)


def _host(
    message: wire.Message, fds: Sequence[int], orders: socket.socket, run_folder: str, own: int,
) -> int:
    """Fork one host init into a PID namespace of its own; gives its process number."""
    kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        kernel.setns(own, kernel.CLONE_NEWPID)  # the next host's namespace must not be inside this one's
        return pid
    try:
        orders.close()
        os.close(own)
        control, network = fds
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        enter_host(message["name"], network, run_folder)
        os.close(network)
        Init(control).serve()
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    os._exit(1)
