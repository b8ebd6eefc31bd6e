"""Writes a container image as a docker-archive, from files and trees: no daemon and no registry is asked.

Equal trees give equal layers, so images that share a base share it on disk too. Format: that of `docker save`
(Docker Image Specification v1.2).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EPOCH = "1970-01-01T00:00:00Z"


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from run to run."""
    info.mtime, info.uname, info.gname = 0, "", ""
    return info


def _layer(path: Path, fill: Callable[[tarfile.TarFile], None]) -> str:
    """Write one layer; gives its digest."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        fill(tar)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tree(root: Path) -> Callable[[tarfile.TarFile], None]:
    def fill(tar: tarfile.TarFile) -> None:
        for entry in sorted(root.iterdir()):
            tar.add(entry, arcname=entry.name, filter=_plain)

    return fill


def _files(files: Mapping[str, Path]) -> Callable[[tarfile.TarFile], None]:
    """Each file or folder at its place in the image, owned by root, with the folders above it."""

    def owned(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        return None if "__pycache__" in info.name else _plain(info)

    def fill(tar: tarfile.TarFile) -> None:
        made: set[str] = set()
        for place, source in files.items():
            for folder in reversed(Path(place).parents[:-1]):
                if str(folder) not in made:
                    made.add(str(folder))
                    info = tarfile.TarInfo(str(folder))
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(info)
            tar.add(source.resolve(), arcname=place, filter=owned)

    return fill


def write(
    out: Path,
    names: Sequence[str],
    *,
    trees: Sequence[Path] = (),
    files: Mapping[str, Path] | None = None,
    entrypoint: Sequence[str] = (),
    command: Sequence[str] = (),
    environment: Sequence[str] = (),
) -> None:
    """Write the image ``names`` (each name:tag) to ``out``: a layer for each tree, one for all files.

    ``files``: place in the image, without the leading slash → what is put there.
    """
    fills = [_tree(tree) for tree in trees] + ([_files(files)] if files else [])
    layers = [
        (path := out.with_suffix(f".layer{number}"), _layer(path, fill)) for number, fill in enumerate(fills)
    ]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": EPOCH,
            "config": {
                "Env": [PATH, *environment],
                "Entrypoint": list(entrypoint) or None,
                "Cmd": list(command) or None,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for _, digest in layers]},
            "history": [{"created": EPOCH, "created_by": "ci/peers/archive.py"} for _ in layers],
        }
    ).encode()
    about = f"{hashlib.sha256(config).hexdigest()}.json"
    parts = [f"{digest}/layer.tar" for _, digest in layers]
    manifest = json.dumps([{"Config": about, "RepoTags": list(names), "Layers": parts}]).encode()
    with tarfile.open(out, "w") as tar:
        for name, data in ((about, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for (path, _), part in zip(layers, parts, strict=True):
            tar.add(path, arcname=part, filter=_plain)
            path.unlink()
