"""The images that clusters in containers need here, as archives: from Debian's packages and the binaries of
`ci/peers/build`, since none can be pulled. Each root file system is made once and kept in the cache.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import archive

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
AGENT = "service-conformance/python:3"  # a Python 3 for the judge's agents
NEXTCLOUD = "service-conformance/nextcloud-stand-in:v1"
IMPLEMENTATION = "service-conformance/implementation:v1"  # the reference proxy and load balancer
PACKAGES = "lib/python3.11/site-packages"  # Debian 12's Python, which is in the images too
STAND_IN = ROOT / "clusters/netns/nextcloud.py"
POD_PACKAGES = "python3,iptables,nftables,conntrack,iproute2,iputils-ping,ca-certificates"
E2E_PACKAGES = f"{POD_PACKAGES},busybox,wget,curl,netcat-openbsd,bind9-dnsutils,socat,netbase"
LEAN = (
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--aptopt=APT::Install-Recommends "false"',
    '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
)
NEEDED = {  # what the implementation imports, by the names of folders and files
    "msgspec",
    "aiohttp",
    "aiosignal",
    "aiohappyeyeballs",
    "attr",
    "attrs",
    "frozenlist",
    "multidict",
    "propcache",
    "yarl",
    "idna",
    "prometheus_client",
    "yaml",
    "_yaml",
    "typing_extensions",
    "pyroute2",
    "pr2modules",
}


class Failed(Exception):
    """A step did not work: which, and its last lines."""


def say(text: str) -> None:
    """One line to the user."""
    print(f"images: {text}", file=sys.stderr, flush=True)


def run(*words: str | Path, stdin: bytes | None = None) -> str:
    """Run a command to its end; gives its output. Raises Failed with its last lines."""
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        last = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-12:]
        raise Failed(
            f"{words[0]} {words[1] if len(words) > 1 else ''}: status {done.returncode}\n" + "\n".join(last)
        )
    return done.stdout.decode()


def tree(name: str, packages: str, variant: str, cache: Path) -> Path:
    """A root file system of Debian packages, made once. Raises Failed."""
    key = hashlib.sha256(f"{packages} {variant} {LEAN}".encode()).hexdigest()[:12]
    made = cache / f"{name}-{key}"
    if not made.exists():
        began = time.monotonic()
        say(f"root file system of {name} ...")
        sources = next(
            path
            for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
            if path.exists()
        )
        part = cache / f".{name}.{os.getpid()}"
        run(
            "mmdebstrap",
            "--mode=root",
            f"--variant={variant}",
            f"--include={packages}",
            *LEAN,
            "bookworm",
            part,
            sources,
        )
        part.rename(made)
        say(f"root file system of {name}: {time.monotonic() - began:.0f} s")
    return made


def pods(cache: Path) -> Path:
    """The root file system that all images with a shell share."""
    return tree("pods", POD_PACKAGES, "essential", cache)


def images(peers: Path, base: Path, out: Path) -> dict[str, str]:
    """Archives of all that kubeadm starts in pods, under the names that it asks for; gives the names."""
    version = run(peers / "kubelet", "--version").split()[1]
    asked = run(peers / "kubeadm", "config", "images", "list", "--kubernetes-version", version).split()
    names = {one.rpartition("/")[2].partition(":")[0]: one for one in asked}
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        archive.write(
            out / f"{name}.tar",
            [names[name]],
            files={f"usr/local/bin/{name}": peers / name},
            entrypoint=[f"/usr/local/bin/{name}"],
        )
    archive.write(
        out / "etcd.tar",
        [names["etcd"]],
        files={"usr/local/bin/etcd": peers / "etcd-3.6"},
        entrypoint=["/usr/local/bin/etcd"],
    )
    archive.write(
        out / "coredns.tar", [names["coredns"]], files={"coredns": peers / "coredns"}, entrypoint=["/coredns"]
    )
    run("gcc", "-Os", "-static", "-s", "-o", out / "pause", HERE / "node/pause.c")
    archive.write(out / "pause.tar", [names["pause"]], files={"pause": out / "pause"}, entrypoint=["/pause"])
    archive.write(
        out / "kube-proxy.tar",
        [names["kube-proxy"]],
        trees=[base],
        files={"usr/local/bin/kube-proxy": peers / "kube-proxy"},
        entrypoint=["/usr/local/bin/kube-proxy"],
    )
    archive.write(out / "python.tar", [AGENT], trees=[base])
    archive.write(
        out / "nextcloud.tar",
        [NEXTCLOUD],
        trees=[base],
        files={"opt/nextcloud.py": STAND_IN},
        entrypoint=["python3", "-u", "/opt/nextcloud.py"],
    )
    return names


def agnhost(peers: Path, cache: Path) -> Path:
    """The archive of what Kubernetes' own tests start in pods, under the names they ask for. Raises Failed.

    One image serves for all of these names: the tests of Services want a shell and a few tools of each.
    """
    asked = run(peers / "e2e.test", "--list-images").split()
    names = [
        one
        for one in asked
        if one.rpartition("/")[2].partition(":")[0] in ("agnhost", "busybox", "glibc-dns-testing")
    ]
    if not names:
        raise Failed(f"e2e.test asks for no agnhost, only for {', '.join(asked) or 'nothing'}")
    root, program = tree("e2e", E2E_PACKAGES, "essential", cache), (peers / "agnhost").resolve()
    names.sort()  # told in another order each time
    out = cache / f"agnhost-{hashlib.sha256(f'{root} {program} {names}'.encode()).hexdigest()[:12]}.tar"
    if not out.exists():
        for old in cache.glob("agnhost-*.tar"):
            old.unlink()
        part = out.with_suffix(".part")
        archive.write(
            part, names, trees=[root], files={"agnhost": program}, entrypoint=["/agnhost"], command=["pause"]
        )
        part.rename(out)
    return out


def implementation(base: Path, out: Path) -> None:
    """The archive of the reference implementation, its packages those of `ci/setup`. Raises Failed."""
    environment = Path(os.environ.get("SC_VENV") or ROOT / ".venv")
    packages = environment / PACKAGES
    if not packages.exists():
        raise Failed(f"{packages} is not there; run ci/setup first, with Debian's own python3")
    places = {
        f"usr/lib/python3/dist-packages/{one.name}": one
        for one in sorted(packages.iterdir())
        if one.name.partition("-")[0].partition(".")[0].lower() in NEEDED
    }
    places["opt/service-conformance/implementation"] = ROOT / "implementation"
    archive.write(
        out,
        [IMPLEMENTATION],
        trees=[base],
        files=places,
        environment=["PYTHONPATH=/opt/service-conformance"],
        entrypoint=["python3", "-m", "implementation.cli"],
    )
