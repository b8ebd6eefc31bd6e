"""One connection, followed by the kernel of every node that it passes.

Each node gets a table of its own that sees each hook and marks the packet to be traced, by a code point that
nothing else sends; it is removed again, also when the asker is killed. What is traced is judged by nobody.

    TraceError        it could not be followed: what was wrong and what to do next
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path
from typing import Any

from clusters.base import CanSnapshot, Cluster, ClusterError, Node
from conformance import nodetrace, packetpath, ruleset
from conformance.packetpath import Followed, Seen

CODE_POINT, LAST = 0x2B, 0x2A  # of the packet, and of the one that says that all before it has been told
_START = 10.0  # seconds for the monitors to listen; patience, it takes 0.2 s
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")

class TraceError(Exception):
    """A connection could not be followed."""


async def follow(
    cluster: Cluster, place: str, target: tuple[str, int], *, protocol: str, seconds: float,
) -> Followed:
    """Open one connection (or send one datagram) from ``place`` and follow its first packet.

    ``place``: a node, another host of the cluster, or ``pod:NAMESPACE/NAME``. ``seconds`` to wait for an
    answer. Raises TraceError.
    """
    if not isinstance(cluster, CanSnapshot):
        raise TraceError(f"{cluster.url}: commands cannot be run on its nodes, so nothing can be traced; use "
                         "netns:// or netns-kept://NAME")
    nodes = await cluster.nodes()
    table = f"trace-{secrets.token_hex(3)}"
    watching = [asyncio.create_task(_watch(cluster, node, table, protocol, seconds)) for node in nodes]
    try:
        await _listening(cluster, nodes, watching)
        words = _program("send", *target, protocol, CODE_POINT, seconds)
        status, said, error = await cluster.run_on(place, words, timeout=seconds + _START)
        if status != 0:
            raise TraceError(f"{place}: nothing could be sent from there: {_last(error)}")
        told = json.loads(said)
        await _tell_end(cluster, nodes)
        seen = await asyncio.gather(*watching)
    except ClusterError as problem:
        raise TraceError(f"{place} to {target[0]}:{target[1]}: {problem}") from problem
    finally:
        if not all(task.done() for task in watching):  # interrupted: have them take their table away
            await asyncio.shield(_give_up(cluster, nodes, watching))
    return Followed(told["outcome"], told["ms"], dict(zip((n.name for n in nodes), seen, strict=True)))


def _rules(table: str, protocol: str) -> str:
    """The table that looks: first at prerouting and output, last at the other hooks."""
    syn = "tcp flags & (syn | ack) == syn" if protocol == "tcp" else "meta l4proto udp"
    mark = "".join(f"{ip} dscp {CODE_POINT:#x} {syn} meta nftrace set 1; " for ip in ("ip", "ip6"))
    last = f"ip daddr 127.0.0.1 ip dscp {LAST:#x} meta nftrace set 1; "
    chains = []
    for hook in _HOOKS:
        first = hook in {"prerouting", "output"}
        rules = (mark if first else "") + (last if hook == "output" else "")
        priority = -400 if first else 400
        chains.append(f"chain at-{hook} {{ type filter hook {hook} priority {priority}; {rules}}}")
    return f"table inet {table} {{\n" + "\n".join(chains) + "\n}\n"


async def _watch(cluster: CanSnapshot, node: Node, table: str, protocol: str, seconds: float) -> Seen:
    last, rules = f"ip dscp {LAST:#x}", _rules(table, protocol)
    words = _program("watch", table, last, seconds + 2 * _START, rules)
    status, said, error = await cluster.run_on(node.name, words, timeout=seconds + 3 * _START)
    told: dict[str, Any] = json.loads(said) if status == 0 and said else {"error": _last(error)}
    if "error" in told:
        raise TraceError(f"{node.name}: its kernel or nft cannot trace: {told['error']}; it takes nftables, "
                         "CONFIG_NF_TABLES_INET and the right to change rules there")
    if not told["complete"]:
        raise TraceError(f"{node.name}: the trace has no end, so something may be missing in it; try again "
                         "when the machine is less busy")
    chains = ruleset.chains(told["chains"])
    sets = {name: ruleset.elements(one) for name, one in told["sets"].items()}
    mark = f"dscp {CODE_POINT:#x}"
    steps = packetpath.read(node.name, told["lines"], chains, own=table, mark=mark)
    return Seen(steps, chains, sets, tuple(told["legacy"]))


async def _listening(cluster: CanSnapshot, nodes: list[Node], watching: list[asyncio.Task[Seen]]) -> None:
    """Return once every node's monitor listens; a watcher that failed says why."""
    words = _program("listens", _START)
    asking = [asyncio.create_task(cluster.run_on(node.name, words, timeout=2 * _START)) for node in nodes]
    try:
        for task in asking:
            await asyncio.wait({task, *watching}, return_when=asyncio.FIRST_COMPLETED)
            for failed in (one for one in watching if one.done()):
                await failed
            if not task.done() or task.result()[0] != 0:
                raise TraceError(f"nft monitor trace does not listen after {_START:g} s; "
                                 "look at what the nodes are busy with, and try again")
    finally:
        for task in asking:
            task.cancel()


async def _give_up(cluster: CanSnapshot, nodes: list[Node], watching: list[asyncio.Task[Seen]]) -> None:
    """End watchers that still wait: each once it listens, as it would not hear of the end before."""
    words = _program("listens", _START)
    asking = [cluster.run_on(node.name, words, timeout=2 * _START) for node in nodes]
    await asyncio.gather(*asking, return_exceptions=True)
    await _tell_end(cluster, nodes)
    await asyncio.gather(*watching, return_exceptions=True)


async def _tell_end(cluster: CanSnapshot, nodes: list[Node]) -> None:
    """Send the packet after which nothing more is expected, on each node."""
    words = _program("send", "127.0.0.1", 9, "udp", LAST, 0)
    await asyncio.gather(*[cluster.run_on(node.name, words, timeout=_START) for node in nodes],
                         return_exceptions=True)


def _program(*words: object) -> list[str]:
    """The command for a node: its own Python runs ``nodetrace`` from the text of it."""
    return [sys.executable, "-c", Path(nodetrace.__file__).read_text(encoding="utf-8"), *map(str, words)]


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
