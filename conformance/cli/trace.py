"""``service-conformance trace``: one connection, step by step, as the kernel of each node tells it."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from clusters.base import CanPlaceOutside, Cluster
from clusters.netns import kept
from conformance import journey, tracing
from conformance.journey import Names
from conformance.kube import Kube, KubeError
from conformance.objects import Object
from conformance.options import Options
from conformance.packetpath import Followed, join
from conformance.post import CLUSTER_IP, stand
from conformance.rig import WITNESS, Rig
from conformance.session import DISPOSABLE, Plan, RunError, prepare, standing

_SEED, _POST = "netns://?seed", "reference-iptables-1.18"
_CLIENT = "debian-bash"


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "trace", help="follow one connection through every hook, chain and rule of the nodes it passes")
    parser.add_argument("source", nargs="?", default=_CLIENT, metavar="FROM",
                        help=f"a pod ([NAMESPACE/]NAME), a node, outside, … (default: pod {_CLIENT})")
    parser.add_argument("target", nargs="?", default=CLUSTER_IP, metavar="TO",
                        help=f"ADDRESS:PORT or SERVICE[.NAMESPACE][:PORT] (default: {CLUSTER_IP})")
    parser.add_argument("--cluster", default="", metavar="URL", help=(
        f"{kept.SCHEME}://NAME (default: {kept.DEFAULT} when it stands), or {_SEED}, raised for this, with "
        "the blog post's pods and Services"))
    parser.add_argument("--implementation", default="", metavar="NAME",
                        help=f"what provides Services in a cluster raised for this (default: {_POST})")
    parser.add_argument("--udp", action="store_true", help="send a datagram instead of opening a connection")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS",
                        help="to wait for an answer (default: 2)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Follow and print; 0 when it was followed, however it ended."""
    if not 0 < arguments.timeout <= 60:
        raise RunError(f"--timeout {arguments.timeout:g}: more than 0 and at most 60 seconds")
    try:
        print(asyncio.run(_told(arguments)))
    except (tracing.TraceError, KubeError) as problem:
        raise RunError(str(problem)) from problem
    return 0


async def _told(arguments: argparse.Namespace) -> str:
    plan = prepare(_options(arguments), folder=Path("out"), command="trace", chosen=())
    async with standing(plan) as cluster, _client(cluster, plan) as kube:
        pods, services = [await _listed(kube, kind) for kind in ("pods", "services")]
        nodes = {address: node.name for node in await cluster.nodes() for address in node.addresses}
        place = _place(arguments.source, cluster, sorted(set(nodes.values())), pods)
        target = _target(arguments.target, services, "UDP" if arguments.udp else "TCP")
        followed = await tracing.follow(
            cluster, place, target, protocol="udp" if arguments.udp else "tcp", seconds=arguments.timeout)
    names = Names.of(pods, services, nodes)
    if arguments.json:
        said = journey.document(followed, names, source=place, target=packet(target))
        return json.dumps(said, indent=2, ensure_ascii=False)
    return _text(followed, names, f"{place} to {packet(target)}")


def packet(target: tuple[str, int]) -> str:
    """Address and port in one word."""
    return join(target[0], str(target[1]))


def _options(arguments: argparse.Namespace) -> Options:
    url = arguments.cluster
    if not url:
        stands = any(one.name == kept.DEFAULT for one in kept.listed()[0])
        url = f"{kept.SCHEME}://{kept.DEFAULT}" if stands else _SEED
    raised = url.startswith(DISPOSABLE)
    if not raised and not url.startswith(f"{kept.SCHEME}://"):
        raise RunError(f"{url}: only the embedded cluster can be traced, whose nodes have this machine's "
                       f"Python and nft; give {kept.SCHEME}://NAME or netns://")
    if arguments.implementation and not raised:
        raise RunError(f"{url} has its implementation already; --implementation is for one raised for this")
    return Options(cluster=url, implementation=(arguments.implementation or _POST) if raised else "")


@asynccontextmanager
async def _client(cluster: Cluster, plan: Plan) -> AsyncIterator[Kube]:
    """A client of the API server; a cluster raised for this gets the post's objects first."""
    kube = Kube(cluster.kubeconfig, timeout=plan.timing.request.seconds)
    await kube.open()
    rig = Rig(cluster, kube, run=secrets.token_hex(3), image=plan.options.agent_image, timing=plan.timing,
              declaration=plan.declaration, now=time.monotonic)
    try:
        if plan.options.cluster.startswith(DISPOSABLE):
            await rig.powers()
            await stand(rig)
        yield kube
    finally:
        await rig.close(leave=True)


async def _listed(kube: Kube, plural: str) -> list[Object]:
    answer = await kube.request("GET", f"/api/v1/{plural}")
    if not answer.ok:
        raise KubeError(f"list {plural}: {answer.said()}")
    return list(answer.body.get("items") or ())


def _place(word: str, cluster: Cluster, nodes: list[str], pods: list[Object]) -> str:
    """From where to send, as ``tracing.follow`` takes it."""
    places = [*nodes, *(cluster.places if isinstance(cluster, CanPlaceOutside) else ()), WITNESS]
    if word in places:
        return word
    namespace, _slash, name = word.rpartition("/")
    full = f"{namespace or 'default'}/{name}"
    running = {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod["status"].get("phase", "")
               for pod in pods}
    if full not in running:
        raise RunError(f"there is no pod {full}, and no node or place {word}; there are {', '.join(places)} "
                       f"and the pods {', '.join(sorted(running)) or '(none)'}")
    if running[full] != "Running":
        phase = running[full] or "Pending"
        raise RunError(f"pod {full} is {phase}; only from a running pod can something be sent")
    return f"pod:{full}"


def _target(word: str, services: list[Object], protocol: str) -> tuple[str, int]:
    """Address and port."""
    host, _colon, port = word.rpartition(":")
    if not host or (":" in host and not host.startswith("[")):
        host, port = word, ""
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return _service(host, port, services, protocol)
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise RunError(f"{word}: which port? Write {join(address, 'PORT')}")
    return address, int(port)


def _service(host: str, port: str, services: list[Object], protocol: str) -> tuple[str, int]:
    name, _dot, namespace = host.partition(".")
    namespace = namespace.split(".")[0] or "default"
    known = {(one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"] for one in services}
    if (namespace, name) not in known:
        there = ", ".join(sorted(f"{one}.{where}" for where, one in known))
        raise RunError(f"{host} is no address and no Service of namespace {namespace}; there are {there}")
    spec = known[namespace, name]
    address = spec.get("clusterIP", "")
    if address in {"", "None"}:
        raise RunError(f"Service {namespace}/{name} has no cluster address; name a pod's address instead")
    ports = [one for one in spec.get("ports") or () if one.get("protocol", "TCP") == protocol]
    wanted = [one["port"] for one in ports if port in {"", str(one["port"]), one.get("name", "")}]
    if len(wanted) == 1:
        return address, wanted[0]
    if port.isdigit() and 0 < int(port) < 65536:  # one that it does not have: how is that refused?
        return address, int(port)
    there = ", ".join(f"{one['port']}" for one in ports) or "none"
    raise RunError(f"which {protocol} port of Service {namespace}/{name}? It has {there}; write {host}:PORT")


def _text(followed: Followed, names: Names, title: str) -> str:
    parts = [title]
    if steps := journey.decided(followed, names):
        short = [(f"{one.step}.", one.chain.partition(" ")[2], one.matched, one.action) for one in steps]
        parts.append("The steps that decided:\n" + journey.table(journey.DECIDED, short))
    if every := journey.rows(followed, names):
        parts.append("All steps:\n" + journey.table(journey.HEADINGS, [one.cells() for one in every]))
    parts.append(f"{journey.ending(followed, names).sentence}\n{journey.sender(followed)}")
    return "\n\n".join(parts)
