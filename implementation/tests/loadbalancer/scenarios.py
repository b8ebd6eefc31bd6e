"""What is done to a :class:`Lan`, and what came of it. Run inside ``unshare``.

``python -m implementation.tests.loadbalancer.scenarios NAME`` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from implementation.loadbalancer import arp
from implementation.loadbalancer.interface import Interface
from implementation.tests.loadbalancer.api import Api, service
from implementation.tests.loadbalancer.lan import VIP, Host, Lan, child, gaps, ip


def silent_cut(lan: Lan, times: int = 5) -> dict[str, object]:
    """Cut whoever announces, again and again."""
    outages, names = [], []
    for i in range(times):
        (owner,) = lan.owners()
        probing = lan.probe(0.9)
        time.sleep(0.2 + 0.031 * (i % 8))
        lan.cut(owner)
        lan.until(lambda was=owner: any(h is not was for h in lan.owners()), 2)
        outages.append(max(gaps(probing.result()), default=0.0))
        lan.cut(owner, on=False)
        lan.until(lambda: len(lan.owners()) == 1, 3)
        names.append([owner.name, lan.owners()[0].name])
    return {"outages": outages, "moves": names}


def cable_pull(lan: Lan) -> dict[str, object]:
    (owner,) = lan.owners()
    probing = lan.probe(1.3)
    time.sleep(0.3)
    ip("link", "set", owner.port, "down")
    lan.until(lambda: VIP not in owner.owned and len(lan.owners()) == 1, 2)
    outage = max(gaps(probing.result()), default=0.0)
    ip("link", "set", owner.port, "up")
    time.sleep(0.6)
    return {"outages": [outage], "owners": len(lan.owners())}


def killed(lan: Lan) -> dict[str, object]:
    (owner,) = lan.owners()
    probing = lan.probe(1.8)
    time.sleep(0.2)
    os.kill(owner.speaker, signal.SIGKILL)
    at = time.monotonic()
    lan.silence(owner)
    lan.until(lambda: len(lan.owners()) == 1, 3)
    taken = time.monotonic() - at
    return {"outages": gaps(probing.result()), "taken": taken}


def restarted(lan: Lan) -> dict[str, object]:
    (owner,) = lan.owners()
    probing = lan.probe(1.0)
    time.sleep(0.2)
    os.kill(owner.speaker, signal.SIGKILL)
    lan.silence(owner)
    lan.speak(owner)
    at = time.monotonic()
    lan.until(lambda: len(lan.owners()) == 1, 3)
    taken = time.monotonic() - at
    return {"outages": gaps(probing.result()), "taken": taken}


def stopped(lan: Lan) -> dict[str, object]:
    (owner,) = lan.owners()
    probing = lan.probe(2.5)
    time.sleep(0.2)
    os.kill(owner.speaker, signal.SIGSTOP)
    lan.until(lambda: len(lan.owners()) == 2, 3)
    time.sleep(0.5)
    os.kill(owner.speaker, signal.SIGCONT)
    at = time.monotonic()
    lan.until(lambda: len(lan.owners()) == 1, 3)
    dual = time.monotonic() - at
    return {"outages": gaps(probing.result()), "dual": dual, "moved": lan.owners()[0] is not owner}


def clean_stop(lan: Lan) -> dict[str, object]:
    (owner,) = lan.owners()
    probing = lan.probe(1.5)
    time.sleep(0.3)
    os.close(owner.orders)
    owner.orders = -1
    lan.until(lambda: any(report.left for _, report in owner.log), 2)
    return {"outages": gaps(probing.result()), "owners": [h.name for h in lan.owners()], "was": owner.name}


def lossy(lan: Lan) -> dict[str, object]:
    """A tenth of all frames lost, both processors busy."""
    before = sum(len(h.log) for h in lan.nodes)
    nft = (
        "table bridge lossy { chain forward { type filter hook forward priority 0; "
        "numgen random mod 10 0 drop; }; }"
    )
    subprocess.run(("nft", "-f", "-"), input=nft, text=True, check=True, timeout=10)
    burners = [child(_burn) for _ in range(8)]
    time.sleep(4)
    for pid in burners:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    lan.look()
    return {"changes": sum(len(h.log) for h in lan.nodes) - before, "owners": len(lan.owners())}


def fail_back(lan: Lan) -> dict[str, object]:
    """A cut node comes back and, after its hold-down, takes the address back."""
    (owner,) = lan.owners()
    lan.probe(0.2).result()
    lan.cut(owner)
    lan.until(lambda: any(host is not owner for host in lan.owners()), 2)
    lan.cut(owner, on=False)
    lan.until(lambda: len(lan.owners()) == 1 and owner not in lan.owners(), 3)
    probing = lan.probe(2.5)
    lan.until(lambda: lan.owners() == [owner], 3)
    rows = probing.result()
    return {"outages": gaps(rows), "served_by": len({who for _, _, who in rows})}


def answers(lan: Lan) -> dict[str, object]:
    """Ask who has the address for two seconds; the owner is cut silently meanwhile. Who answered, and what
    was seen.
    """
    (owner,) = lan.owners()
    reader, writer = os.pipe()
    lan.inside(lan.client, lambda: _ask(2.0, writer))
    os.close(writer)
    time.sleep(0.7)
    at = time.monotonic()
    lan.cut(owner)
    with os.fdopen(reader) as file:
        lines = [line.split() for line in file.read().splitlines()]
    seen = [(float(when), arp.parse(bytes.fromhex(frame))) for when, frame in lines]
    replies = [(t, f) for t, f in seen if f.destination != arp.BROADCAST]
    told = [(t, f) for t, f in seen if f.destination == arp.BROADCAST and f.sender == VIP and t > at]
    before = {f.sender_mac.hex() for t, f in replies if t < at}
    after = {f.sender_mac.hex() for t, f in replies if t > at + 0.4}
    return {
        "before": sorted(before),
        "after": sorted(after),
        "told": len(told),
        "kinds": sorted({f.operation for _, f in told}),
        "first_told": told[0][0] - at if told else None,
        "owner": owner.name,
    }


def _ask(seconds: float, writer: int) -> None:
    """Ask every 50 ms from a second address, so that the client's own cache is not kept fresh; write all
    ARP seen.
    """
    interface = Interface("eth0")
    seen, end, following = [], time.monotonic() + seconds, 0.0
    while (now := time.monotonic()) < end:
        if now >= following:
            following = now + 0.05
            interface.send(arp.who_has(VIP, "192.168.2.51", interface.mac))
        for frame in interface.received():
            if VIP in (frame.sender, frame.target):
                seen.append(f"{time.monotonic()} {arp.build(frame).hex()}")
        select.select([interface.socket], [], [], 0.005)
    with os.fdopen(writer, "w") as file:
        file.write("\n".join(seen))


def speakers(lan: Lan) -> dict[str, object]:
    """Whole speakers against an API: announced, announcer killed, speaker ended, the API gone while a node
    is cut.
    """
    del lan.nodes[3:]
    ip("address", "add", "192.168.2.1/24", "dev", "br0")
    reader, writer = os.pipe()
    api = child(lambda: asyncio.run(_serve_api(writer, lan)))
    os.close(writer)
    events = os.fdopen(reader)
    pids = {host.name: lan.inside(host, lambda host=host: _speaker(host)) for host in lan.nodes}
    by_name = {host.name: host for host in lan.nodes}
    result: dict[str, object] = {}

    def announced() -> str:
        while "nodeAssigned" not in (line := events.readline()):
            if not line:
                raise RuntimeError("the API has ended")
        return line.split('"')[3]

    first, elected = announced(), lan.vips[VIP].order[0]
    if first != elected:  # the others were up before it was: now it takes over
        first = announced()
    result["elected"] = first == elected
    probing = lan.probe(2.5)
    time.sleep(0.3)
    os.kill(first_child(first_child(pids[first])), signal.SIGKILL)
    second = announced()
    result["killed"] = {"outages": gaps(probing.result()), "moved": second != first}
    probing = lan.probe(1.0)
    time.sleep(0.3)
    os.kill(pids[second], signal.SIGTERM)
    third = announced()
    result["ended"] = {"outages": gaps(probing.result()), "moved": third != second}
    os.kill(api, signal.SIGKILL)
    probing = lan.probe(1.0)
    time.sleep(0.3)
    lan.cut(by_name[third])
    result["without_api"] = {"outages": gaps(probing.result())}
    return result


def _speaker(host: Host) -> None:
    """The speaker as its descriptor starts it."""
    from implementation.loadbalancer.speaker import main as speak

    config = Path(tempfile.mkdtemp()) / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": "http://192.168.2.1:8080"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c"}}],
                "current-context": "x",
            }
        )
    )
    speak([f"--kubeconfig={config}", f"--node-name={host.name}", f"--node-ip={host.address}"])


async def _serve_api(events: int, lan: Lan) -> None:
    """An API with the post's objects; writes each event into the pipe."""
    api = Api()
    secret = base64.b64encode(b"some secret").decode()
    api.put("secrets", "memberlist", "metallb-system", data={"secretkey": secret})
    api.put(
        "configmaps",
        "config",
        "metallb-system",
        data={
            "config": (
                "address-pools:\n- name: default\n  protocol: layer2\n"
                "  addresses:\n  - 192.168.2.200-192.168.2.225\n"
            )
        },
    )
    for host in lan.nodes:
        api.put("nodes", host.name, status={"addresses": [{"type": "InternalIP", "address": host.address}]})
    api.put(
        "endpointslices",
        "web-1",
        "default",
        metadata={"labels": {"kubernetes.io/service-name": "web"}},
        addressType="IPv4",
        endpoints=[{"addresses": ["10.42.0.9"], "nodeName": lan.nodes[0].name}],
    )
    api.put(**service("web"), status={"loadBalancer": {"ingress": [{"ip": VIP}]}})
    await api.start("192.168.2.1", 8080)
    told = 0
    while True:
        await asyncio.sleep(0.01)
        for event in api.events[told:]:
            os.write(events, (json.dumps(event[1]) + event[2] + "\n").encode())
        told = len(api.events)


def first_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _burn() -> None:
    while True:
        pass


SCENARIOS = {
    run.__name__: run
    for run in (
        silent_cut,
        cable_pull,
        killed,
        restarted,
        stopped,
        clean_stop,
        lossy,
        fail_back,
        answers,
        speakers,
    )
}


def main() -> None:
    lan = Lan()
    if sys.argv[1] == "fail_back":
        lan.pace = msgspec.structs.replace(lan.pace, hold_down=1.0)
    if sys.argv[1] == "speakers":
        print(json.dumps(speakers(lan)))  # noqa: T201
        return
    lan.settle()
    probing = lan.probe(0.5)  # the control: without a fault nothing is lost
    control = gaps(probing.result())
    print(json.dumps({"control": control, **SCENARIOS[sys.argv[1]](lan)}))  # noqa: T201


if __name__ == "__main__":
    main()
