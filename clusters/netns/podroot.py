"""The file system of a pod: the host's programs read-only, its own /etc, /run and /tmp, and its volumes.

There is no image to unpack: a pod sees the programs of the machine it runs on. Nothing a pod writes reaches
the host's files: all it can write to is memory that ends with it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clusters.netns import kernel

_NEW = "/run/pod-root"  # the host's /run is a tmpfs of its own, so this is nobody else's folder
_OWN = ("tmp", "run", "etc", "dev")  # made anew for every pod
_HIDDEN = ("home", "root", "lost+found")  # somebody's files, no programs
_WRITABLE = ("proc", "sys")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


@dataclass(frozen=True)
class Root:
    """Files with their text, folders or files to show at other places, folders that must stay visible."""

    files: dict[str, str] = field(default_factory=dict)  # absolute path -> contents
    binds: tuple[tuple[str, str], ...] = ()  # (source on the host, absolute path in the pod), read-only
    writable: tuple[tuple[str, str], ...] = ()  # the same, but the pod may write there
    keep: tuple[str, ...] = ()  # folders Python imports from

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Root:
        """The inverse of ``dataclasses.asdict``."""
        return cls(
            data["files"], tuple((source, target) for source, target in data["binds"]),
            tuple((source, target) for source, target in data["writable"]), tuple(data["keep"]),
        )


def enter_root(root: Root) -> None:
    """Build the root and move into it; the caller is in a mount namespace of its own. Raises OSError."""
    os.umask(0o022)
    Path(_NEW).mkdir(exist_ok=True)
    kernel.mount("pod", _NEW, "tmpfs", data="mode=755")
    for entry in os.scandir("/"):
        if entry.name not in _OWN and entry.name not in _HIDDEN:
            _show(f"/{entry.name}", f"{_NEW}/{entry.name}", writable=entry.name in _WRITABLE)
    for name, mode in (("tmp", 0o1777), ("run", 0o755), ("root", 0o700), ("dev", 0o755), ("dev/shm", 0o1777)):
        Path(_NEW, name).mkdir(exist_ok=True)
        Path(_NEW, name).chmod(mode)
    for name in _DEVICES:
        with suppress(FileNotFoundError):
            _show(f"/dev/{name}", f"{_NEW}/dev/{name}", writable=True)
    for name, place in _LINKS.items():
        Path(_NEW, "dev", name).symlink_to(place)
    Path(_NEW, "etc").mkdir()
    _fill("/etc", f"{_NEW}/etc", leave=tuple(Path(path).name for path in root.files))
    for folder in root.keep:
        if not Path(_NEW + folder).exists():
            Path(_NEW + folder).mkdir(parents=True)
            kernel.bind(folder, _NEW + folder)
            kernel.read_only(_NEW + folder)
    for path, text in root.files.items():
        _make(path, folder=False)
        Path(_NEW + path).write_text(text)
    for source, target in (*root.writable, *root.binds):
        _make(target, folder=Path(source).is_dir())
        kernel.bind(source, _NEW + target)
        if (source, target) in root.binds:
            kernel.read_only(_NEW + target)
    kernel.pivot_root(_NEW)


def _show(source: str, target: str, *, writable: bool = False) -> None:
    """Show one file, folder or link of the host in the new root; leave out what may not be seen."""
    mode = os.lstat(source).st_mode
    try:
        if stat.S_ISLNK(mode):
            Path(target).symlink_to(Path(source).readlink())
            return
        if stat.S_ISDIR(mode):
            Path(target).mkdir()
        else:
            Path(target).touch()
        kernel.bind(source, target)
    except PermissionError:
        return
    if not writable:
        kernel.read_only(target)


def _fill(source: str, target: str, leave: tuple[str, ...] = ()) -> None:
    """Fill the writable folder ``target`` with what is in ``source``, entry by entry."""
    for name in os.listdir(source):  # noqa: PTH208 (names, not paths, are wanted)
        if name not in leave:
            with suppress(FileNotFoundError):
                _show(f"{source}/{name}", f"{target}/{name}")


def _make(path: str, *, folder: bool) -> None:
    """Have ``path`` exist in the new root, where the host may have nothing, or something read-only."""
    parents = [part for part in Path(path).parts[1:] if part not in (".", "..")]
    here = _NEW
    for number, part in enumerate(parents):
        target = f"{here}/{part}"
        last = number == len(parents) - 1
        if not Path(target).exists():
            try:
                _create(target, folder=folder or not last)
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                    raise
                kernel.mount("shadow", here, "tmpfs", data="mode=755")
                _fill(here.removeprefix(_NEW), here)
                _create(target, folder=folder or not last)
        here = target


def _create(target: str, *, folder: bool) -> None:
    if folder:
        Path(target).mkdir()
    else:
        Path(target).touch()
