"""The run folder of a cluster: private, removed at the end, and swept when its judge was killed.

The judge holds a lock on its folder for as long as it lives; a folder nobody holds belongs to a killed run.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clusters.base import ClusterError

_PREFIX = "service-conformance-"
_LONGEST_SOCKET = 107  # bytes of a Unix socket's path (sun_path, with its end)


@dataclass
class RunFolder:
    """A folder of mode 0700 and the lock on it."""

    run: str  # the run's id: eight hex digits
    path: Path
    _lock: int

    def remove(self) -> None:
        """Remove the folder with all it holds, and give up the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def base_folder() -> Path:
    """Where run folders go: $XDG_RUNTIME_DIR if it is a usable folder, else the temporary folder."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and os.access(given, os.W_OK | os.X_OK):
        base = Path(given).resolve()
        if len(str(base / f"{_PREFIX}{os.getuid()}-12345678" / "control")) <= _LONGEST_SOCKET:
            return base
    return Path(tempfile.gettempdir()).resolve()


def make(base: Path | None = None) -> RunFolder:
    """Make and lock a new run folder; ClusterError says why it cannot be made."""
    base = base or base_folder()
    sweep(base)
    for _try in range(5):
        run = secrets.token_hex(4)
        path = base / f"{_PREFIX}{os.getuid()}-{run}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise ClusterError(f"no folder can be made in {base} for this run ({error.strerror}); "
                               "set XDG_RUNTIME_DIR or TMPDIR to a folder you may write to") from error
        lock = _held(path)
        if lock >= 0:
            return RunFolder(run, path, lock)
    raise ClusterError(f"no run folder could be kept in {base}: something removes it; set TMPDIR elsewhere")


def _held(path: Path) -> int:
    """The lock on a folder just made; -1 where another start has swept it before it was locked."""
    lock = -1
    with suppress(FileNotFoundError):
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    if lock >= 0:
        os.close(lock)
    return -1


def sweep(base: Path) -> list[Path]:
    """Remove the run folders of this user whose judge no longer lives; gives those it removed."""
    removed = []
    for path in base.glob(f"{_PREFIX}{os.getuid()}-*"):
        with suppress(OSError):
            about = path.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its judge lives
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
            finally:
                os.close(fd)
    return removed
