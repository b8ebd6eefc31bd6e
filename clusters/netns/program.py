"""One program to start on a host: the description that travels, and what the forked child does with it.

A description (``Program``) goes from the machine to a host's init as JSON with descriptors beside it. The
child never returns: it becomes another program (``argv``) or calls a Python function that was loaded before
the fork (``python``), which costs no start of an interpreter: 13 execs took 2.8 s, 13 forks 18 ms.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import sys
import termios
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from clusters.netns import kernel
from clusters.netns.podroot import Root, enter_root

CANNOT_START = 127  # exit status of a child that never came to its program, as a shell gives


@dataclass(frozen=True)
class Program:
    """What to run. ``net``: the first descriptor beside the message is the network namespace to be in.

    ``fds``: which numbers the other descriptors get in the program. ``enter``: the process, by its number on
    the host, whose mounts and host name to share. ``log``: the file both outputs are appended to. ``tty``:
    its descriptor 0 is a terminal, which becomes its own: Ctrl-C, job control.
    """

    argv: tuple[str, ...] = ()
    python: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    log: str = ""
    hostname: str = ""
    net: bool = False
    fds: tuple[int, ...] = ()
    tty: bool = False
    enter: int = 0
    root: Root | None = None

    def to_json(self) -> dict[str, Any]:
        """As a plain mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Program:
        """The inverse of ``to_json``."""
        root = data.pop("root")
        data.update({name: tuple(data[name]) for name in ("argv", "args", "fds")})
        return cls(**data, root=None if root is None else Root.from_json(root))


def call(entry: str, args: Sequence[str]) -> int:
    """Call ``module:function`` with a list of arguments; gives its exit status.

    SystemExit with a sentence when there is no such module or function.
    """
    module, _, name = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise SystemExit(f"cannot load {entry}: {error}") from error
    return int(function(list(args)) or 0)


def run_child(program: Program, fds: Sequence[int]) -> NoReturn:
    """In the forked child: set everything up and become the program; ends the process."""
    status = CANNOT_START
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _descriptors(program, list(fds))
        if program.tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.environ.clear()
        os.environ.update(program.env)
        os.chdir(program.cwd)
        if program.argv:
            os.execvpe(program.argv[0], list(program.argv), dict(program.env))
        kernel.name_process(program.python.partition(":")[0].rpartition(".")[2] or program.python)
        sys.argv = [program.python, *program.args]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = call(program.python, program.args)
    except SystemExit as leaving:
        status = _exit_status(leaving)
    except FileNotFoundError as error:
        said = f"{error.strerror}: {error.filename}"
        if program.argv and error.filename != program.cwd:
            said = f'exec: "{program.argv[0]}": executable file not found in $PATH'  # as runc says it
        print(f"cannot start: {said}", file=sys.stderr)  # noqa: T201
    except BaseException:
        status = 1 if status != CANNOT_START else status
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 0xFF)


def _exit_status(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code
    print(leaving.code, file=sys.stderr)  # noqa: T201
    return 1


def _descriptors(program: Program, fds: list[int]) -> None:
    """Outputs to the log, namespaces, then only the descriptors that were asked for remain open."""
    keep = dict(zip(program.fds, fds[1:] if program.net else fds, strict=True))
    if program.log:
        log = os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        keep = {1: log, 2: log} | keep
    if 0 not in keep:
        keep[0] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    _namespaces(program, fds[0] if program.net else None)
    # Two steps, so that a descriptor that is moved never lands on one that is still to be moved.
    high = {target: os.dup2(fd, 700 + target, inheritable=False) for target, fd in keep.items()}
    for target, fd in high.items():
        os.dup2(fd, target, inheritable=True)
    start = 3
    for target in sorted(number for number in keep if number >= 3):
        os.closerange(start, target)
        start = target + 1
    os.closerange(start, 1024)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        assert stream.fileno() == number


def _namespaces(program: Program, network: int | None) -> None:
    if program.enter:
        for name, kind in (("uts", kernel.CLONE_NEWUTS), ("net", kernel.CLONE_NEWNET),
                           ("mnt", kernel.CLONE_NEWNS)):
            fd = os.open(f"/proc/{program.enter}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            kernel.setns(fd, kind)
            os.close(fd)
        return
    if network is not None:
        kernel.setns(network, kernel.CLONE_NEWNET)
    if program.root is not None:
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS)
        if program.hostname:
            kernel.sethostname(program.hostname)
        enter_root(program.root)
