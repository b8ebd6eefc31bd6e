"""What an image name means here: a program that stands in for the image, with nothing to unpack.

Nothing is downloaded. ``nextcloud`` is not NextCloud: it is a stand-in that serves a login page of its own
and writes the same kind of access log. Whoever reads the page, its headers or the pod's log is told so.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Image:
    """The stand-in for one image: a Python function, or what is executed when the pod names no command."""

    name: str
    python: str = ""
    args: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    listens: int = 0  # the pod counts as started once this TCP port answers
    kubeconfig: bool = False  # gets a kubeconfig at /run/kubeconfig
    account: bool = False  # gets the token of the pod's ServiceAccount


_STAND_INS = {
    image.name: image
    for image in (
        Image("nextcloud", python="clusters.netns.nextcloud:main", listens=80),
        Image("python", default=("python3",)),
        Image("debian", default=("bash",)),
        Image("busybox", default=("sh",)),
        Image("coredns/coredns", python="clusters.dns.server:main", listens=53, kubeconfig=True, args=(
            "--kubeconfig", "/run/kubeconfig", "--listen", "0.0.0.0:53", "--cluster-domain", "cluster.local",
        )),
        Image("klipper-lb", python="clusters.netns.klipper:main"),
        Image("traefik", python="clusters.netns.standin:main", args=("traefik",), listens=80),
        Image("metrics-server", python="clusters.netns.standin:main", args=("metrics-server",), listens=443),
        Image("klipper-helm", python="clusters.netns.standin:main", args=("klipper-helm",)),
        Image("local-path-provisioner", python="clusters.netns.standin:main",
              args=("local-path-provisioner",)),
    )
}


def find(reference: str, more: Mapping[str, Image]) -> Image | None:
    """The stand-in for an image reference, whatever its registry, tag or digest; None when there is none.

    ``more``: those that an implementation brings, by their names.
    """
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    for prefix in ("docker.io/", "index.docker.io/", "quay.io/"):
        name = name.removeprefix(prefix)
    if name in more:
        return more[name]
    for prefix in ("rancher/mirrored-", "rancher/library-", "rancher/", "library/"):
        name = name.removeprefix(prefix)
    return _STAND_INS.get(name.replace("coredns-coredns", "coredns/coredns"))


def missing(reference: str, more: Mapping[str, Image]) -> str:
    """The sentence for an image without a stand-in."""
    return (f'no stand-in for image "{reference}": this cluster downloads nothing; '
            f"there are stand-ins for {', '.join(sorted({**_STAND_INS, **more}))}")


def program_of(image: Image, command: Sequence[str], args: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """How to run a container by the rules of command and args: (Python function or "", arguments or argv)."""
    if image.kubeconfig or image.account or (image.python and not command):
        return image.python, image.args or tuple(args)
    argv = (*command, *args) if command else tuple(args) or image.default
    if Path(argv[0]).name in ("python", "python3") and len(argv) > 1 and not argv[1].startswith("-"):
        return "clusters.netns.images:run_file", argv[1:]
    return "", argv


def run_file(args: Sequence[str]) -> int:
    """``python3 FILE args…`` in a process that is a Python already: 13 execs took 2.8 s, 13 forks 18 ms."""
    sys.argv = list(args)
    sys.path.insert(0, str(Path(args[0]).resolve().parent))
    runpy.run_path(args[0], run_name="__main__")
    return 0
