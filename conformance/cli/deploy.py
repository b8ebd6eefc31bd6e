"""``service-conformance deploy``: the reference implementation on a cluster that is there, and off it."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import yaml

from clusters import commands, locate
from clusters.base import ClusterError
from clusters.kind.cluster import KindCluster
from clusters.kubeconfig.cluster import KubeconfigCluster
from conformance.session import RunError

IMAGE = "service-conformance/implementation:v1"
MODES = ("nftables", "iptables", "userspace")
_PROXY = ("kube-proxy.yaml", "kube-proxy-daemonset.yaml")
_BALANCER = ("loadbalancer.yaml", "loadbalancer-workloads.yaml")
_WAITS = {
    "kube-proxy-daemonset.yaml": ("daemonset/kube-proxy", "kube-system"),
    "loadbalancer-workloads.yaml": ("daemonset/speaker deployment/controller", "metallb-system"),
}
_ROLLOUT = 180.0  # seconds for every pod to be Ready; patience


def add(subcommands: Any) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser("deploy", help="the reference implementation on a cluster that is there")
    parser.add_argument(
        "cluster", metavar="URL", help="kind://NAME or kubeconfig://PATH?context=NAME, without kube-proxy"
    )
    parser.add_argument("--image", default=IMAGE, help=f"image of the implementation (default: {IMAGE})")
    parser.add_argument(
        "--mode", default=MODES[0], choices=MODES, help="mode of the proxy (default: nftables)"
    )
    parser.add_argument("--load-balancer", action="store_true", help="the load balancer, too")
    parser.add_argument(
        "--interface", default="eth0", help="the nodes' interface to announce on (default: eth0)"
    )
    parser.add_argument(
        "--server",
        default="",
        metavar="URL",
        help="the API server as nodes reach it (default: what "
        "kube-public/cluster-info says, else the kubeconfig)",
    )
    parser.add_argument(
        "--remove",
        action="store_true",
        help="take it away again; the rules stay until the nodes restart "
        "or another proxy replaces them, so that nothing is lost meanwhile",
    )
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Deploy or remove; 0 when every pod is Ready."""
    try:
        return asyncio.run(_deploy(arguments))
    except ClusterError as problem:
        raise RunError(str(problem), log=problem.log) from problem


async def _deploy(told: argparse.Namespace) -> int:
    cluster = await locate.locate(told.cluster)
    try:
        if not isinstance(cluster, KubeconfigCluster):
            raise ClusterError(
                f"{told.cluster}: an embedded cluster starts its implementation by itself; deploy is for "
                "kind:// and kubeconfig://"
            )
        server = urlsplit(told.server or await _server(cluster))
        if not server.hostname:
            raise ClusterError(f"--server {told.server}: no URL such as https://10.0.0.1:6443")
        words = {
            "image": told.image,
            "mode": told.mode,
            "interface": told.interface,
            "host": server.hostname,
            "port": str(server.port or 443),
        }
        files = [*_PROXY, *(_BALANCER if told.load_balancer else ())]
        if isinstance(cluster, KindCluster) and not told.remove:
            await cluster.load_image(told.image)
        for file in reversed(files) if told.remove else files:
            text = Template((manifests() / file).read_text(encoding="utf-8")).safe_substitute(words)
            verb = (
                ["delete", "--ignore-not-found"]
                if told.remove
                else ["apply", "--server-side", "--force-conflicts"]
            )
            print(_kubectl(cluster, [*verb, "-f", "-"], stdin=text), end="")
        for file in files if not told.remove else ():
            objects, namespace = _WAITS.get(file, ("", ""))
            for one in objects.split():
                wait = ["rollout", "status", one, "-n", namespace, f"--timeout={_ROLLOUT:g}s"]
                print(_kubectl(cluster, wait), end="", flush=True)
    finally:
        await cluster.close()
    return 0


def manifests() -> Path:
    """Where the installed implementation keeps its manifests; found by name, never imported."""
    found = importlib.util.find_spec("implementation")
    if found is None or not found.submodule_search_locations:
        raise RunError(
            "the package `implementation` is not installed here; install service-conformance whole"
        )
    return Path(next(iter(found.submodule_search_locations))) / "deploy"


async def _server(cluster: KubeconfigCluster) -> str:
    """The API server's URL as nodes know it."""
    try:
        info = await cluster.api.get("/api/v1/namespaces/kube-public/configmaps/cluster-info")
        told = yaml.safe_load(info["data"]["kubeconfig"])
    except (ClusterError, KeyError):
        told = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    return str(told["clusters"][0]["cluster"]["server"])


def _kubectl(cluster: KubeconfigCluster, words: list[str], *, stdin: str | None = None) -> str:
    done = commands.run(
        ["kubectl", "--kubeconfig", str(cluster.kubeconfig), *words], timeout=_ROLLOUT + 10, stdin=stdin
    )
    if done.status != 0:
        raise ClusterError(f"kubectl {' '.join(words[:3])}: {(done.error or done.output).strip()[-800:]}")
    return done.output
