"""Where the programs of others are: a named folder, KUBEBUILDER_ASSETS, or what ``ci/peers/build`` has made.

Last the system's own folders. Nothing is downloaded here, and nothing is built.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from clusters.base import ClusterError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def folders(named: str = "") -> list[str]:
    """The folders that are searched before the PATH, the ``named`` one first; only those that exist.

    Raises ClusterError when there is no folder of that name.
    """
    if named and not Path(named).is_dir():
        raise ClusterError(f"bin-dir {named}: no such folder; name the one that holds the programs")
    given = [named, os.environ.get("KUBEBUILDER_ASSETS", ""), str(cache())]
    return [str(Path(folder).resolve()) for folder in given if folder and Path(folder).is_dir()]


def cache() -> Path:
    """The folder of binaries that ``ci/peers/build --bin`` prints."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:  # no home folder at all
        return Path("/nonexistent")
    return Path(os.environ.get("SC_PEERS") or home / "service-conformance" / "peers") / "bin"


def search_path(named: str = "") -> str:
    """A PATH that finds real programs first, then the system's."""
    return ":".join([*folders(named), SYSTEM_PATH])


def find(names: Sequence[str], path: str) -> dict[str, str]:
    """Each program's own file, by name, found along ``path``.

    Raises ClusterError that names every one missing, where was looked, and how to have it.
    """
    found = {name: shutil.which(name, path=path) for name in names}
    absent = [name for name, where in found.items() if where is None]
    if absent:
        raise ClusterError(missing(absent, path))
    return {name: str(where) for name, where in found.items()}


def missing(names: Sequence[str], path: str) -> str:
    """The sentence about programs that are nowhere along ``path``."""
    verb = "is" if len(names) == 1 else "are"
    return (f"{', '.join(names)} {verb} not on this machine (looked in {path.replace(':', ', ')}); "
            f"build with ci/peers/build {' '.join(names)}, or name a folder that has them with --bin-dir "
            "or KUBEBUILDER_ASSETS")
