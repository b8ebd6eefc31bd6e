"""Whether this machine can hold the embedded cluster, and whether a standing one would mislead its judge."""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import re
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from clusters import commands, locate
from clusters.base import CanSnapshot, Cluster, ClusterError, Node
from clusters.client import ApiError, Client
from clusters.netns import launch, runfolder

_SECONDS = 20.0  # patience for all trials; they take 0.4 s
_PYTHON = (3, 11)
_DESCRIPTORS = 1024  # what a start on a host of the cluster needs
_LIMITS = "user/max_user_namespaces", "kernel/apparmor_restrict_unprivileged_userns"
_PACKAGES = {"iptables": "iptables", "nftables": "nftables", "connection": "conntrack"}
_KERNEL = (5, 10)  # the oldest this was made for: maps from address and port to both, and pidfds
_KUBECTL = (1, 31)
_PROCESSES, _MEMORY = 300, 400 << 20  # a cluster of three nodes with the post's pods, and room; bytes
_RULE, _ROOMY = 385, 16 << 20  # bytes that a rule takes in iptables-restore's one message; enough for 40,000
# What a trial needs where it fails although user namespaces are allowed.
_STEPS = {
    "own /proc": "a container with a masked /proc forbids it; start with --security-opt systempaths=unmasked",
    "hosts in namespaces": "AppArmor's or the container's profile forbids mounts; allow them, or run as root",
    "packet sockets": "the container's seccomp profile forbids them; start it with seccomp=unconfined",
}
# On a node, and what each must be (rates: at least). Source: facts on namespace labs: a node that sends
# redirects uses up the ICMP tokens, and a refusal is then silently not sent: it looks like a drop.
_SETTINGS = {"conf/all/send_redirects": 0, "conf/eth0/send_redirects": 0, "icmp_ratelimit": 0}
_RATES = {"icmp_msgs_per_sec": 10_000, "icmp_msgs_burst": 10_000}
_OFFLOAD = """
import array, fcntl, socket, struct
value = array.array("I", [0x16, 0])
request = struct.pack("16sP8x", b"eth0", value.buffer_info()[0])
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)
print(value[1])
"""  # ETHTOOL_GTXCSUM by SIOCETHTOOL; see linux/ethtool.h


class State(StrEnum):
    """What a check found."""

    OK = "ok"
    WRONG = "wrong"
    NOTE = "note"  # worth knowing, nothing to do


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    name: str
    state: State
    detail: str
    next_step: str = ""


def machine(root: Path = Path("/")) -> Iterator[Finding]:
    """The checks of this machine, in the order in which they are best put right."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield _finding("Python", sys.version_info >= _PYTHON, version, "install Python 3.11 or newer")
    yield _kernel(os.uname().release)
    if container := _container(root):
        yield Finding("container", State.NOTE, f"{container}; where a trial below fails, start it with "
                      "--security-opt seccomp=unconfined --security-opt apparmor=unconfined "
                      "--security-opt systempaths=unmasked")
    yield _tools()
    yield _kubectl()
    yield from _places()
    yield from _groups(root)
    yield from _trials(root)
    yield from _send_buffer(root)
    for limit in _LIMITS:
        path = root / "proc/sys" / limit
        if path.exists():
            yield Finding(limit.partition("/")[2], State.NOTE, path.read_text().strip())
    yield Finding("host's own network", State.NOTE,
                  "ip_forward, br_netfilter and firewall do not matter: the cluster has networks of its own")


def _finding(name: str, good: bool, detail: str, next_step: str) -> Finding:
    return Finding(name, State.OK, detail) if good else Finding(name, State.WRONG, detail, next_step)


def _kernel(release: str) -> Finding:
    """The kernel's version; an older one is only a note, as the trials decide."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) >= _KERNEL:
        return Finding("kernel", State.OK, release)
    made_for = ".".join(map(str, _KERNEL))
    return Finding("kernel", State.NOTE, f"{release}; this was made for {made_for} and newer: the trials "
                   "below show what it lacks")


def _container(root: Path) -> str:
    """What kind of container this is; empty on a machine of one's own."""
    marks = {"run/.containerenv": "a Podman container", ".dockerenv": "a Docker container"}
    for mark, kind in marks.items():
        if (root / mark).exists():
            return kind
    with suppress(OSError):
        for entry in (root / "proc/1/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"container="):
                return f"a container ({entry.partition(b'=')[2].decode(errors='replace')})"
    return ""


def _groups(root: Path) -> Iterator[Finding]:
    """What the control groups around this process leave of processes and memory (cgroups, version 2)."""
    try:
        own = (root / "proc/self/cgroup").read_text()
    except OSError:
        return
    path = next((line.partition("::")[2] for line in own.splitlines() if line.startswith("0::")), "")
    above = [root / "sys/fs/cgroup" / path.strip("/")]
    above += [one for one in above[0].parents if one.is_relative_to(root / "sys/fs/cgroup")]
    limits = (("pids", "processes", _PROCESSES, "--pids-limit, or TasksMax of its unit"),
              ("memory", "memory", _MEMORY, "--memory, or MemoryMax of its unit"))
    for controller, word, needed, option in limits:
        left = [room for group in above if (room := _room(group, controller)) is not None]
        if left:
            said = f"{min(left)} left in this control group"
            yield _finding(f"room for {word}", min(left) >= needed, said,
                           f"a cluster takes up to {needed}; raise the limit ({option})")


def _room(group: Path, controller: str) -> int | None:
    """How much of its limit a control group has left; None where it has none."""
    try:
        most = (group / f"{controller}.max").read_text().strip()
        return None if most == "max" else int(most) - int((group / f"{controller}.current").read_text())
    except (OSError, ValueError):
        return None


def _tools() -> Finding:
    try:
        launch.require_tools()
    except ClusterError as problem:
        needed, _, step = str(problem).partition("; ")
        return Finding("programs", State.WRONG, needed, step)
    return Finding("programs", State.OK, "iptables, nft, conntrack, unshare and setpriv are here")


def _kubectl() -> Finding:
    """Only a user who types commands needs it; older ones speak what this API server does not."""
    said = commands.run(["kubectl", "version", "--client", "--output=json"], timeout=10)
    found = re.search(r'"gitVersion": *"v(\d+)\.(\d+)', said.output)
    if said.status or not found:
        return Finding("kubectl", State.NOTE, "not here; to type commands put 1.31 or newer on PATH")
    version = int(found[1]), int(found[2])
    return _finding("kubectl", version >= _KUBECTL, f"{version[0]}.{version[1]}",
                    "put 1.31 or newer on PATH: exec, attach and port-forward are by WebSocket only")


def _places() -> Iterator[Finding]:
    """A folder to write, a port to listen on, descriptors."""
    base = runfolder.base_folder()
    yield _finding("run folder", os.access(base, os.W_OK | os.X_OK), str(base),
                   "set TMPDIR to a folder you may write to")
    try:
        socket.create_server(("127.0.0.1", 0)).close()
        yield Finding("free port", State.OK, "127.0.0.1 has one for the API server")
    except OSError as error:
        yield Finding("free port", State.WRONG, f"none on 127.0.0.1: {error.strerror}",
                      "bring up the loopback device: ip link set lo up")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= _DESCRIPTORS
    yield _finding("open files", enough, f"{soft} may be open at once (hard limit {hard})",
                   f"ulimit -n {_DESCRIPTORS}")


def _trials(root: Path) -> Iterator[Finding]:
    """User namespaces, and everything that is tried inside."""
    done = commands.run(
        ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--",
         sys.executable, "-P", "-m", "clusters.netns.scratch"],
        timeout=_SECONDS, env=launch.environment(),
    )
    if done.status != 0:
        why, _, step = launch.why_refused(done.error, root).partition(": ")
        yield Finding("user namespaces", State.WRONG, why, step or "look at what it says, and try as root")
        return
    yield Finding("user namespaces", State.OK, f"allowed for user {os.getuid()}")
    for name, error in json.loads(done.output).items():
        package = _PACKAGES.get(name.split()[0], "")
        step = _STEPS.get(
            name, "load its kernel module on the host (modprobe, as root), or use a kernel that has it")
        if "not found on PATH" in error and package:
            step = f"sudo apt-get install {package}"
        elif "(legacy)" in error:
            step = "sudo update-alternatives --set iptables /usr/sbin/iptables-nft"
        yield _finding(name, not error, error or "works in a scratch namespace", step)


def _send_buffer(root: Path) -> Iterator[Finding]:
    """How many rules iptables-restore can commit at once on a host of the cluster."""
    path = root / "proc/sys/net/core/wmem_default"
    if path.exists():
        yield Finding("rules at once", State.NOTE, f"iptables-restore commits some "
                      f"{int(path.read_text()) // _RULE}; real kube-proxy in mode iptables with more serves "
                      f"nothing new: to judge it, sysctl -w net.core.wmem_default={_ROOMY}, as root")


async def standing(url: str) -> list[Finding]:
    """The checks of a cluster: raised for them, or one that stands; it is closed, or left as it was."""
    try:
        cluster = await locate.locate(url)
    except ClusterError as problem:
        return [Finding("cluster", State.WRONG, f"{url}: {problem}", "put right what is wrong above first")]
    try:
        nodes = await cluster.nodes()
        found = [Finding("cluster", State.OK, f"{url} stands with {len(nodes)} nodes"), _subnets(nodes)]
        found.append(await _service_lb(cluster))
        if isinstance(cluster, CanSnapshot):
            for node in nodes:
                found.append(await _redirects(cluster, node.name))
            found.append(await _offload(cluster, nodes[0].name))
        return found
    finally:
        await cluster.close()


def _subnets(nodes: Sequence[Node]) -> Finding:
    networks = [(ipaddress.ip_network(cidr), node.name) for node in nodes for cidr in node.pod_cidrs]
    for (one, first), (two, second) in itertools.combinations(networks, 2):
        if one.overlaps(two):
            return Finding("pod networks", State.WRONG, f"{one} of {first} overlaps {two} of {second}",
                           "give each node a pod network of its own, or endpoints look lost")
    return Finding("pod networks", State.OK, "no two overlap")


async def _service_lb(cluster: Cluster) -> Finding:
    """k3s's own load balancer answers on every node's port and hides what is to be judged."""
    try:
        async with Client.from_kubeconfig(cluster.kubeconfig) as client:
            pods = await client.list("/api/v1/pods")
    except (ApiError, OSError) as problem:
        return Finding("API server", State.WRONG, f"pods cannot be listed: {problem}", "see its log")
    names = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("svclb-")]
    return _finding(
        "ServiceLB", not names, f"its pods run: {', '.join(names[:3])}" if names else "no svclb pods",
        "it takes LoadBalancer Services for itself: start the k3s server with --disable servicelb")


async def _redirects(cluster: CanSnapshot, node: str) -> Finding:
    every = {**_SETTINGS, **_RATES}
    script = "; ".join(f"cat /proc/sys/net/ipv4/{name}" for name in every)
    status, output, error = await cluster.run_on(node, ["sh", "-c", script], timeout=5)
    values = dict(zip(every, map(int, output.split()), strict=False)) if status == 0 else {}
    wrong = [name for name, good in every.items()
             if name not in values or (values[name] < good if name in _RATES else values[name] != good)]
    words = ", ".join(f"{name}={values.get(name, '?')}" for name in wrong) if status == 0 else error.strip()
    fix = " ".join(f"net.ipv4.{name.replace('/', '.')}={good}" for name, good in every.items())
    return _finding(f"refusals on {node}", not wrong, words or "no redirects, no thinned refusals",
                    f"on the node: sysctl -w {fix}; else a refusal may be dropped and look like a timeout")


async def _offload(cluster: CanSnapshot, node: str) -> Finding:
    status, output, _error = await cluster.run_on(node, [sys.executable, "-c", _OFFLOAD], timeout=5)
    if status != 0:
        return Finding("checksum offload", State.NOTE, f"{node} could not be asked; for eBPF proxies only")
    if output.strip() == "0":
        return Finding("checksum offload", State.OK, "off")
    return Finding("checksum offload", State.NOTE,
                   "on; for an eBPF proxy, whose own refusals it can hide: ethtool -K eth0 tx off on clients")
