"""Finding or making a kind cluster, through pytest-kind and never with a download."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from clusters import commands
from clusters.base import ClusterError
from clusters.kind.options import Options

_LOAD = 300.0  # seconds to copy an image into every node; patience
_ASK = 30.0  # seconds for a question to kind


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"kind: {text}\n")
    sys.stderr.flush()


def tools() -> tuple[Path, Path]:
    """kind and kubectl of PATH; ClusterError when one is missing: nothing is ever downloaded."""
    found = {name: shutil.which(name) for name in ("kind", "kubectl", "docker")}
    if missing := [name for name, path in found.items() if path is None]:
        raise ClusterError(
            f"{', '.join(missing)} is not on PATH, and this suite downloads nothing; next: install it, or "
            "use the embedded cluster netns://, which needs none of them"
        )
    return Path(str(found["kind"])), Path(str(found["kubectl"]))


def clusters(kind: Path) -> list[str]:
    """The names of the kind clusters that are there. Raises ClusterError."""
    done = commands.run([str(kind), "get", "clusters"], timeout=_ASK)
    if done.status != 0:
        raise ClusterError(
            f"kind get clusters: {done.error.strip()}; does Docker run, and may this user use it?"
        )
    return done.output.split()


async def have(options: Options, kubeconfig: Path) -> bool:
    """Write the kubeconfig of the cluster, making it when it is not there; True when it was made.

    Raises ClusterError with kind's last lines when it cannot be made.
    """
    kind, kubectl = tools()
    there = options.name in await asyncio.to_thread(clusters, kind)
    version = commands.run([str(kind), "version"], timeout=_ASK).output.strip()
    say(f"{version}; kubectl {kubectl}; cluster {options.name} {'is there' if there else 'is made now ...'}")
    if there:
        done = commands.run(
            [str(kind), "export", "kubeconfig", "--name", options.name, "--kubeconfig", str(kubeconfig)],
            timeout=_ASK,
        )
        if done.status != 0:
            raise ClusterError(f"kind export kubeconfig --name {options.name}: {done.error.strip()}")
        return False
    await asyncio.to_thread(_make, options, kubeconfig, kind, kubectl)
    return True


def _make(options: Options, kubeconfig: Path, kind: Path, kubectl: Path) -> None:
    from pytest_kind.cluster import KindCluster

    with tempfile.TemporaryDirectory(prefix="service-conformance-kind-") as folder, contextlib.chdir(folder):
        config = Path(options.config) if options.config else Path(folder, "config.yaml")
        if not options.config:
            config.write_text(yaml.safe_dump(options.configuration()), encoding="utf-8")
        # It makes a folder of its own where it stands; the paths given keep it from downloading anything.
        made = KindCluster(options.name, kubeconfig, options.image or None, kind, kubectl)
        try:
            made.create(config)
        except subprocess.CalledProcessError as problem:
            raise ClusterError(
                f"kind could not make cluster {options.name} (status {problem.returncode}; its own words "
                f"are above); next: kind delete cluster --name {options.name}, or another ?image="
            ) from problem


async def load(name: str, image: str) -> None:
    """Give an image that Docker has to every node of a cluster. Raises ClusterError."""
    kind, _ = tools()
    words = [str(kind), "load", "docker-image", "--name", name, image]
    done = await asyncio.to_thread(commands.run, words, timeout=_LOAD)
    if done.status != 0:
        raise ClusterError(
            f"kind load docker-image {image}: {done.error.strip()[-300:]}; build or pull the image first"
        )


async def remove(name: str) -> None:
    """Delete a cluster that this process made."""
    kind, _ = tools()
    await asyncio.to_thread(commands.run, [str(kind), "delete", "cluster", "--name", name], timeout=120.0)
