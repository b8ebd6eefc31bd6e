#!/usr/bin/env python3
"""Is what the judge measures true? Known faults are injected; the measured value stands beside the true one.

Outages of exactly 50, 100, 300 and 1,000 ms (a cable cut silently and healed), 0.1, 1 and 2 % of SYNs lost,
splits of 52/48 and 55/45 (both by nftables counters, so that the true number is exact). Then what each kind
of statistical row can see. Writes out/calibration.json; exit status 1 when an outage is off by more than
10 ms, or a share or a loss is not the true one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from clusters.base import CanCutLink, CanSnapshot, Node  # noqa: E402
from conformance import statistics  # noqa: E402
from conformance.lab import Lab  # noqa: E402
from conformance.measuring import Measured, around, outage, udp  # noqa: E402
from conformance.options import Options  # noqa: E402
from conformance.probes import Probe  # noqa: E402
from conformance.rig import Backend, Wanted  # noqa: E402
from conformance.tap import agreement  # noqa: E402
from conformance.timing import Aim  # noqa: E402
from conformance.workbench import workbench  # noqa: E402

OUT = ROOT / "out/calibration.json"
PORT = 7000
SPLIT_PORTS = (7001, 7002)  # one each: a client runs out of ports for one target
OUTAGES = (0.05, 0.1, 0.3, 1.0)  # seconds
OFF = 0.01  # seconds an outage may be off
LOSSES = (1, 10, 20)  # of 1,000 SYNs
CONNECTS = 3000
SPLITS = (52, 55)  # of 100 connections to the first backend
CONNECTIONS = 6600  # whole hundreds; from 6,560 on a shift of 5 points is seen with 99.9 %
TABLE = "calibration"


@dataclass(frozen=True)
class Row:
    """One quantity: injected, measured, and how far it may be off."""

    what: str
    true: float
    measured: float
    allowed: float
    besides: str = ""

    @property
    def right(self) -> bool:
        """True when the measured value is near enough."""
        return abs(self.measured - self.true) <= self.allowed + 1e-9


async def on_node(lab: Lab, node: Node, rules: str) -> None:
    """Run nft on a node; SystemExit with its words when it refuses."""
    argv = ["nft", rules]
    status, _, said = await cast(CanSnapshot, lab.rig.cluster).run_on(node.name, argv, timeout=20)
    if status != 0:
        raise SystemExit(f"nft on {node.name}: {said.strip()}")


async def silent(lab: Lab, node: Node, seconds: float) -> Row:
    """Cut the node's cable silently for ``seconds`` and measure it by datagrams and on the wire."""
    cluster, done = cast(CanCutLink, lab.rig.cluster), [0.0, 0.0]
    healed = asyncio.Event()

    async def heal() -> None:
        await asyncio.sleep(seconds)
        done[1] = await cluster.heal_link(node.name)
        healed.set()

    async def act() -> float:
        done[0] = await cluster.cut_link(node.name, silently=True)
        tasks.append(asyncio.create_task(heal()))
        return done[0]

    tasks: list[asyncio.Task[None]] = []
    target = (node.addresses[0], PORT)
    seen = await around(lab, {"echo": Aim(lab.outside, udp(target))}, act, after=seconds + 0.5)
    await healed.wait()
    return Row(f"silent for {seconds * 1000:,.0f} ms", done[1] - done[0], outage(seen, "echo"), OFF,
               on_the_wire(lab, seen, f"{target[0]}:{PORT}"))


def on_the_wire(lab: Lab, seen: Measured, target: str) -> str:
    """What the tap made of it, where there is one."""
    if not seen.frames:
        return ""
    found = agreement(seen.frames, seen.series["echo"][1], target, since=seen.acted, interval=0.005,
                      offset=-lab.evidence.began)
    return f"the switch saw {found.wire * 1000:.1f} ms"


async def lossy(lab: Lab, node: Node, lost: int) -> Row:
    """Drop ``lost`` of 1,000 SYNs and count the connections that are lost."""
    rule = (f"add table ip {TABLE}; "
            f"add chain ip {TABLE} in {{ type filter hook prerouting priority -300; }}; "
            f"add rule ip {TABLE} in tcp dport {PORT} tcp flags & (syn | ack) == syn "
            f"numgen inc mod 1000 < {lost} drop")
    await on_node(lab, node, rule)
    probe = Probe("connect", (node.addresses[0], PORT), count=CONNECTS, concurrency=100, timeout=0.9)
    seen = await lab.probe(f"lossy {lost}", lab.outside, probe)
    await on_node(lab, node, f"delete table ip {TABLE}")
    failed = sum(one.kind != "answered" for one in seen.outcomes)
    bound = statistics.upper_bound(failed, CONNECTS)
    return Row(f"{lost / 10:g} % of SYNs lost", lost / 1000, failed / CONNECTS, 0.0,
               f"{failed} of {CONNECTS:,}, below {bound:.2%} at 95 %")


async def uneven(lab: Lab, node: Node, pods: list[Backend], first: int, port: int) -> Row:
    """Send ``first`` of 100 connections to the first of two pods and measure its share."""
    ways = f"{{ 0-{first - 1} : {pods[0].ip}, {first}-99 : {pods[1].ip} }}"
    rule = (f"add table ip {TABLE}; add chain ip {TABLE} out {{ type nat hook prerouting priority -100; }}; "
            f"add rule ip {TABLE} out ip daddr {node.addresses[0]} tcp dport {port} "
            f"dnat to numgen inc mod 100 map {ways}")
    await on_node(lab, node, rule)
    probe = Probe("tcp", (node.addresses[0], port), count=CONNECTIONS, timeout=2.0)
    seen = await lab.probe(f"split {first}", lab.outside, probe)
    await on_node(lab, node, f"delete table ip {TABLE}")
    counts = {pod.nonce: sum(one.by == pod.nonce for one in seen.outcomes) for pod in pods}
    found = statistics.equal_shares(counts, tolerance=0.10)
    shift = found.smallest_shift or 1.0
    proven = "proven unequal" if found.unequal else "not proven unequal"
    return Row(f"split {first}/{100 - first}", first / 100, found.shares[pods[0].nonce], 0.0005,
               f"p {found.p_value:.2g}: {proven} at 1e-6; {found.n:,} show {shift * 100:.1f} points")


def powers() -> list[dict[str, str]]:
    """What each sort of statistical row sees with 99.9 %, and how often it is wrong about a right one."""
    rows = []
    for n, names in ((1640, "BALANCE-02, SEED-03"), (6560, "calibration")):
        shift = statistics.smallest_shift(n, 2) or 1.0
        rows.append({"rows": names, "n": f"{n:,}", "sees": f"a shift of {shift * 100:.1f} points between two",
                     "wrong": "1e-6"})
    unseen = statistics.unseen_chance(60, 2)
    rows.append({"rows": "BALANCE-04", "n": "60", "sees": "a backend that gets nothing",
                 "wrong": f"{unseen:.0e}"})
    for n, names in ((100, "LB-01, LB-25, ETP-*"), (300, "LB-02, CLUSTERIP-01"), (3000, "LIFECYCLE-03")):
        rate = 1 - (1 - statistics.POWER) ** (1 / n)
        rows.append({"rows": names, "n": f"{n:,}", "sees": f"{rate:.2%} of attempts not as they must be",
                     "wrong": "0"})
    return rows


def show(rows: list[Row], power: list[dict[str, str]]) -> str:
    """Both tables as text."""
    lines = [f"{'injected':24} {'true':>10} {'measured':>10} {'off by':>9}"]
    for row in rows:
        mark = "" if row.right else "   WRONG"
        off = row.measured - row.true
        lines.append(f"{row.what:24} {row.true:10.4f} {row.measured:10.4f} {off:+9.4f}{mark}   {row.besides}")
    lines += ["", f"{'rows':24} {'n':>6}  sees with 99.9 %; wrong about a right one"]
    lines += [f"{one['rows']:24} {one['n']:>6}  {one['sees']}; {one['wrong']}" for one in power]
    return "\n".join(lines)


async def measured() -> list[Row]:
    """Every row, on a cluster of its own."""
    options = replace(Options(), cluster="netns://2-nodes")
    async with workbench(options, ROOT / "out/calibration") as lab:
        node = lab.nodes[-1]
        echo = (f"tcp:{PORT}", f"udp:{PORT}", *(f"tcp:{port}" for port in SPLIT_PORTS))
        wanted = [Wanted("host", node.name, {"app": "calibrated"}, echo, on_host=True)]
        wanted += [Wanted(f"pod-{n}", node.name, {"app": "calibrated"}, echo) for n in range(2)]
        _, *pods = await lab.rig.agents(lab.rig.namespace, wanted)
        rows = [await silent(lab, node, seconds) for seconds in OUTAGES]
        rows += [await lossy(lab, node, lost) for lost in LOSSES]
        splits = zip(SPLITS, SPLIT_PORTS, strict=True)
        return rows + [await uneven(lab, node, pods, first, port) for first, port in splits]


def main() -> int:
    """Measure, print and keep."""
    rows, power = asyncio.run(measured()), powers()
    print(show(rows, power))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"calibration": [asdict(row) | {"right": row.right} for row in rows],
                               "power": power}, indent=1))
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
