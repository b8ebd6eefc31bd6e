"""Clusters that outlive the command that raised them: what is known of each, in a private folder of its name.

``$XDG_STATE_HOME/service-conformance/clusters/NAME`` (``~/.local/state`` where that is unset), mode 0700:

==============  =================================================================================
``lock``        locked for as long as the keeper lives; free: the cluster is gone, whatever else is here
``about.json``  url, implementation, when, nodes, the run folder, and its processes with their start times
``kubeconfig``  for the user's own kubectl
``log``         what the keeper said
==============  =================================================================================
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import select
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clusters.base import ClusterError
from clusters.netns import conversation, runfolder

DEFAULT = "default"
SCHEME = "netns-kept"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
_ASK = 0.5  # seconds for the machine to say that it ends
_BY_ITSELF = 0.7  # seconds for everything to end after that, before the keeper is killed
_KILLED = 5.0  # seconds for the kernel to end what was killed; patience, it takes 0.05 s
_KEEPER = 0
_TRIES, _BRIEFLY = 20, 0.01  # to get a name that somebody else looks at or gives back; seconds between


@dataclass(frozen=True)
class Process:
    """A process, told apart by its start from a later one with the same number."""

    pid: int
    start: int  # clock ticks after boot, as in /proc/PID/stat

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now; ``start`` is 0 when there is none."""
        with suppress(OSError, ValueError, IndexError):
            text = Path(f"/proc/{pid}/stat").read_text()
            return cls(pid, int(text.rpartition(")")[2].split()[19]))
        return cls(pid, 0)

    def open(self) -> int:
        """A descriptor of exactly this process, readable once it has ended; -1: it is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return -1
        if self.start and Process.of(self.pid) == self:  # asked after opening: the number cannot change hands
            return fd
        os.close(fd)
        return -1


@dataclass(frozen=True)
class Kept:
    """One kept cluster. ``processes``: the keeper, then those whose end is the cluster's end."""

    name: str
    url: str
    implementation: str  # name or file of its descriptor; empty: none was started
    since: float  # Unix time
    processes: tuple[Process, ...]
    nodes: tuple[str, ...] = ()
    run_folder: str = ""  # empty until it stands

    @property
    def folder(self) -> Path:
        """Where its state is."""
        return state_folder() / self.name

    @property
    def kubeconfig(self) -> Path:
        """The file for ``KUBECONFIG``."""
        return self.folder / "kubeconfig"

    @property
    def keeper(self) -> int:
        """The keeper's process number."""
        return self.processes[_KEEPER].pid

    def write(self) -> None:
        """Write what is known, in one step."""
        part = self.folder / "about.part"
        part.write_text(json.dumps(asdict(self)))
        part.replace(self.folder / "about.json")


def state_folder() -> Path:
    """Where the folders of kept clusters are."""
    given = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise ClusterError("this user has no home folder to keep a cluster's state in; set XDG_STATE_HOME "
                           "to a folder you may write to") from error
    return base / "service-conformance" / "clusters"


def checked_name(name: str) -> str:
    """``name`` if a cluster can be called so; ClusterError says what is allowed."""
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} cannot be a cluster's name; use at most 40 small letters, digits and "
                           "dashes, a letter or digit first and last")
    return name


def name_in(url: str) -> str:
    """The name in a URL ``netns-kept://NAME``; the default's where it names none."""
    return url.removeprefix(f"{SCHEME}://").strip("/") or DEFAULT


def claim(name: str) -> int:
    """Take the name: gives the lock as a descriptor. ClusterError names the keeper that has it already."""
    folder = state_folder() / checked_name(name)
    for _try in range(_TRIES):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # it was being removed
            continue
        except OSError as error:
            raise ClusterError(f"{folder} cannot be made ({error.strerror}); set XDG_STATE_HOME to a folder "
                               "you may write to") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            if _try < _TRIES - 1 and not _keeper_lives(name):
                time.sleep(_BRIEFLY)  # one who starts just now, or only looks whether it is free
                continue
            raise ClusterError(_taken(name)) from None
        with suppress(FileNotFoundError):
            if (folder / "lock").stat().st_ino == os.fstat(lock).st_ino:
                for old in ("about.json", "kubeconfig", "log"):
                    (folder / old).unlink(missing_ok=True)
                return lock
        os.close(lock)
    raise ClusterError(f"{folder} could not be kept: something removes it; set XDG_STATE_HOME elsewhere")


def _keeper_lives(name: str) -> bool:
    about = _read(name)
    fd = about.processes[_KEEPER].open() if about is not None else -1
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def _taken(name: str) -> str:
    about = _read(name)
    who = ""
    if about is not None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about.since))
        who = f" by process {about.keeper} since {at}"
    return (f"the name {name!r} is taken{who}; end that cluster with `service-conformance cluster down "
            f"{name}`, or give this one another --name")


def is_kept(name: str) -> bool:
    """True while the keeper of this cluster lives: its lock is held."""
    try:
        lock = os.open(state_folder() / name / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _read(name: str) -> Kept | None:
    """What is known of a cluster; None when nothing readable is there."""
    try:
        found = json.loads((state_folder() / name / "about.json").read_text())
        found["processes"] = tuple(Process(**one) for one in found["processes"])
        found["nodes"] = tuple(found["nodes"])
        return Kept(**found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def listed() -> tuple[list[Kept], list[str]]:
    """The clusters that stand, by name, and the names of those that are gone; these are forgotten now."""
    standing, gone = [], []
    for folder in sorted(state_folder().glob("*")) if state_folder().is_dir() else ():
        if not _NAME.fullmatch(folder.name):
            continue  # nothing of ours
        about = _read(folder.name)
        if is_kept(folder.name):
            if about is not None and about.run_folder:
                standing.append(about)
        else:
            gone.append(folder.name)
            forget(folder.name)
    return standing, gone


def find(name: str) -> Kept:
    """A cluster that stands; ClusterError names those there are."""
    about = _read(checked_name(name))
    if about is not None and about.run_folder and is_kept(name):
        return about
    names = ", ".join(one.name for one in listed()[0]) or "none"
    raise ClusterError(f"no cluster {name!r} is kept (there are: {names}); raise it with "
                       f"`service-conformance cluster up --name {name}`")


def forget(name: str) -> None:
    """Remove the folder of a cluster that is gone, and the run folder that a killed keeper left."""
    lock = -1
    try:
        with suppress(FileNotFoundError):
            lock = os.open(state_folder() / name / "lock", os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = _read(name)
        if about is not None and about.run_folder:
            runfolder.sweep(Path(about.run_folder).parent)
        shutil.rmtree(state_folder() / name, ignore_errors=True)
    except BlockingIOError:
        return  # somebody has raised another of this name meanwhile
    finally:
        if lock >= 0:
            os.close(lock)


def end(name: str) -> bool:
    """End a cluster; when this returns the kernel has ended all its processes. False: it was gone already.

    ClusterError when its processes do not end, which only a broken kernel could cause.
    """
    about = _read(checked_name(name))
    if about is None or not is_kept(name):
        forget(name)
        return False
    watched = [fd for process in about.processes if (fd := process.open()) >= 0]
    keeper = about.processes[_KEEPER].open()
    try:
        patience = 0.0
        with suppress(ClusterError):  # one that hangs, or does not stand yet, is killed at once
            asyncio.run(_down(Path(about.run_folder or "/nowhere") / "control"))
            patience = _BY_ITSELF
        if not _ended(watched, patience):
            if keeper >= 0 and is_kept(name):  # this very process, and it still has the lock: it is ours
                signal.pidfd_send_signal(keeper, signal.SIGKILL)
            if not _ended(watched, _KILLED):
                raise ClusterError(f"cluster {name!r}: processes {about.processes} do not end; "
                                   f"look at {about.folder / 'log'}")
    finally:
        for fd in (*watched, keeper):
            if fd >= 0:
                os.close(fd)
    forget(name)
    return True


async def _down(control: Path) -> None:
    await conversation.ask(control, {"op": "down"}, timeout=_ASK)


def _ended(watched: Sequence[int], seconds: float) -> bool:
    """True once all these processes have ended, at most ``seconds`` from now."""
    until, left = time.monotonic() + seconds, set(watched)
    while left and (rest := until - time.monotonic()) > 0:
        left -= set(select.select(list(left), [], [], rest)[0])
    return not left
