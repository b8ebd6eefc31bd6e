"""A long random life of the proxy in mode nftables: changes of every sort, and with them restarts, flushes by
others, refused transactions, an absent or forgetful API server. A Service that nobody touches is probed all
the while, and in the end the kernel must hold what a fresh build holds."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import msgspec

from implementation.dataplane.fake import Fake
from implementation.dataplane.nftables import Nftables, readback
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.kernel import Kernel
from implementation.dataplane.nftables.netlink import Message
from implementation.dataplane.nftables.shapes import Family
from implementation.dataplane.nftables.tables import LEAD, NAMED
from implementation.state.known import Known
from implementation.tests.build import ROWS, raw, service_json, slice_json
from implementation.tests.lab import Node, echo, sh
from implementation.tests.load import Load
from implementation.tests.nftables import listing
from implementation.tests.rig import Rig, log, well, write_kubeconfig

SERVICES, BATCH = 60, 20
STEADY = "10.43.0.5"
FLUSHES = ("flush ruleset", "delete table ip kp", "flush map ip kp svc", "flush map ip kp variant",
           "flush chain ip kp services", "flush map ip kp endpoints")  # fmt: skip
EVENTS = ("flush", "restart", "kill", "outage", "forget", "hang up")
WINDOW = 0.05  # seconds before a flush and after its repair that belong to it: packets on their way


def some_service(number: int, dice: random.Random) -> dict[str, Any]:
    """Service ``number``, of some sort; its addresses and node port are nobody else's."""
    spec: dict[str, Any] = {"clusterIP": f"10.43.1.{number}", "clusterIPs": [f"10.43.1.{number}"]}
    port: dict[str, Any] = {"port": dice.choice([80, 81]), "protocol": dice.choice(["TCP", "TCP", "UDP"])}
    if dice.random() < 0.4:
        spec |= {"type": "NodePort", "externalTrafficPolicy": dice.choice(["Cluster", "Local"])}
        port["nodePort"] = 30000 + number
    if dice.random() < 0.2:
        spec["externalIPs"] = [f"1.2.3.{number}"]
    if dice.random() < 0.2:
        spec |= {"sessionAffinity": "ClientIP"}
    if dice.random() < 0.2:
        spec["internalTrafficPolicy"] = "Local"
    return service_json(f"s{number}", **spec, ports=[port])


def some_slice(number: int, dice: random.Random) -> dict[str, Any]:
    """A slice of Service ``number`` with none to six endpoints."""
    ends = dice.sample(range(1, 9), dice.randint(0, 6))
    made = slice_json(f"s{number}", *(f"10.44.{number}.{end}" for end in ends))
    made["ports"][0]["protocol"] = dice.choice(["TCP", "TCP", "UDP"])
    for one in made["endpoints"]:
        one["nodeName"] = dice.choice(["here", "there"])
        one["conditions"] = {"ready": dice.random() < 0.8}
    return made


class Life:
    """One soak; ``sndbuf`` is the socket's buffer the proxy asks for."""

    def __init__(self, seed: int, sndbuf: int) -> None:
        self.dice, self.sndbuf, self.rig = random.Random(seed), sndbuf, Rig("nftables")
        self.kernel, self.counts = Kernel(), dict.fromkeys(EVENTS, 0)
        self.windows: list[tuple[float, float]] = []  # from a flush to the repair

    async def run(self, changes: int, often: int) -> dict[str, Any]:
        """So many changes, an event after each ``often`` of them."""
        api = self.rig.api
        api.put("endpointslices", slice_json("web", "10.42.0.2", "10.42.0.3"))
        api.put(
            "nodes",
            {
                "metadata": {"name": "here"},
                "status": {"addresses": [{"type": "InternalIP", "address": "192.168.2.114"}]},
            },
        )
        write_kubeconfig(await api.start(6443))
        await self.spawn()
        load = Load(STEADY, 80)
        for done in range(0, changes, BATCH):
            for _ in range(BATCH):
                self.change()
            await asyncio.sleep(self.dice.uniform(0, 0.04))
            if done % often < BATCH:
                await self.event(self.dice.choice(EVENTS))
        await self.settled()
        seen = load.end()
        lost = [
            one for one in seen["lost"] if not any(begin <= one[0] <= end for begin, end in self.windows)
        ]
        lived = listing.dump()
        await self.rig.stop()
        return {
            "events": self.counts,
            "tried": seen["tried"],
            "machine": seen["machine"],
            "lost": lost,
            "lived": lived,
            "fresh": self.fresh(),
            "windows": self.windows,
            "repairs": [b - a - 2 * WINDOW for a, b in self.windows],
            "refused": log().count("the kernel refused a change"),
            "crashed": "Traceback" in log(),
        }

    async def spawn(self) -> None:
        await self.rig.spawn("implementation.tests.faulty", commits=30, sndbuf=self.sndbuf, clock=10**8)
        await self.rig.until(well, 20)

    def change(self) -> None:
        """One object comes, changes or goes."""
        api, number = self.rig.api, self.dice.randrange(1, SERVICES)
        kind = self.dice.choice(["services", "endpointslices", "endpointslices"])
        name = f"s{number}" + "-1" * (kind == "endpointslices")
        if name in api.objects[kind] and self.dice.random() < 0.2:
            api.remove(kind, name)
        else:
            made = some_service if kind == "services" else some_slice
            api.put(kind, made(number, self.dice))

    async def event(self, what: str) -> None:
        """Something goes wrong."""
        self.counts[what] += 1
        api = self.rig.api
        if what == "flush":
            await self.flush()
        elif what in ("restart", "kill"):
            if what == "restart":
                await self.rig.stop()
            else:
                self.rig.process.kill()
                await self.rig.process.wait()
            for _ in range(BATCH):
                self.change()
            await self.spawn()
        elif what == "outage":
            await api.stop()
            for _ in range(BATCH):
                self.change()
            await api.start(6443)
        else:
            if what == "forget":
                api.oldest = api.version
            api.hang_up()

    async def flush(self) -> None:
        """Somebody else empties what is ours, when everything is in force; notes when it is whole again."""
        await self.settled()
        whole = self.rows()
        began = time.monotonic()
        sh(f"nft {self.dice.choice(FLUSHES)}")
        await self.rig.until(lambda: self.rows() == whole, 20)
        self.windows.append((began - WINDOW, time.monotonic() + WINDOW))

    def rows(self) -> int:
        """How many rows and rules that are always there the kernel has; 0 where some row leads nowhere."""
        found = readback.read(self.kernel, Family(4))
        if found is None:
            return 0
        leads = {nl.unword(value[4:LEAD]) for (name, _), value in found.rows.items() if name in NAMED}
        rules = sum(len(rules) for name, rules in found.chains.items() if "_" not in name)
        return len(found.rows) + rules if leads <= set(found.variants.values()) else 0

    async def settled(self) -> None:
        """Wait until the kernel serves what the API says."""
        fake = Fake()
        fake.apply(self.wanted())
        expected = fake.dump()
        await self.rig.until(lambda: listing.dump() == expected, 60)

    def wanted(self) -> Any:
        """What must be served, by way of no process and no watch."""
        known, objects = Known("here"), self.rig.api.objects
        known.see_nodes([raw(one) for one in objects["nodes"].values()])
        known.see_services([raw(one) for one in objects["services"].values()])
        known.see_slices([raw(one) for one in objects["endpointslices"].values()])
        return known.desired(("192.168.2.114",))

    def fresh(self) -> list[str]:
        """What the kernel serves after a build from nothing."""
        self.kernel.commit([nl.message(Message.DELTABLE, Family(4).af, table="kp")])
        Nftables(msgspec.structs.replace(ROWS, pods=((4, "10.42.0.0/16"),))).apply(self.wanted())
        return listing.dump()


def live(seed: int, changes: int, often: int, sndbuf: int) -> dict[str, Any]:
    """A soak in this process's fresh namespaces; see :class:`Life`."""
    Node(2)
    for number in (0, 1):
        echo(f"pod{number}", 8080, f"pod{number}")
    return asyncio.run(Life(seed, sndbuf).run(changes, often))
