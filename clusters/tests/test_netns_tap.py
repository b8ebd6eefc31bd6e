"""The passive tap: what it notes, when, on which port, and what it leaves out."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator

import pytest

from clusters.base import CanTap, ClusterError, Frame
from clusters.locate import locate
from clusters.netns import tap
from clusters.netns.cluster import NetnsCluster

pytestmark = pytest.mark.kernel
MASTER, WORKER = "k3s-master-rpi001", "k3s-worker-rpi002"
_SEND = """
import socket, sys
for word in sys.argv[2:]:
    kind, address, port = word.split("/")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as one:
        one.settimeout(0.05)
        try:
            one.connect((address, int(port)))
            one.send(sys.argv[1].encode() * 30)
        except OSError:
            pass
"""


@pytest.fixture(scope="module")
def cluster() -> AsyncIterator[NetnsCluster]:  # type: ignore[misc]
    made = asyncio.run(locate("netns://2-nodes"))
    yield made
    asyncio.run(made.close())


def flow(frame: Frame) -> str:
    """``arp``, or protocol, addresses and target port."""
    if frame.data[12:14] == b"\x08\x06":
        return "arp"
    source, target = (".".join(map(str, frame.data[at:at + 4])) for at in (26, 30))
    name = {6: "tcp", 17: "udp"}[frame.data[23]]
    return f"{name} {source} {target} {struct.unpack('!H', frame.data[36:38])[0]}"


async def send(cluster: NetnsCluster, place: str, *to: str) -> None:
    await cluster.run_on(place, ["python3", "-c", _SEND, "x", *to], timeout=5)


async def test_notes_arp_the_pool_node_ports_and_the_outside_host(cluster: NetnsCluster) -> None:
    assert isinstance(cluster, CanTap)
    for address in ("192.168.2.200", "192.168.2.226"):  # on the router, so that nobody asks for them first
        await cluster.run_on(MASTER, ["ip", "neigh", "replace", address, "lladdr", "02:00:c0:a8:02:01", "dev",
                                      "eth0"], timeout=5)
    before = time.monotonic()
    await cluster.tap_start()
    await send(cluster, MASTER, "udp/192.168.2.200/80", "udp/192.168.2.226/80", "udp/192.168.2.1/31000",
               "udp/192.168.2.115/29999", "udp/192.168.2.115/30000", "tcp/192.168.2.115/32767",
               "udp/192.168.2.115/32768", "udp/192.168.2.50/9")
    frames = await cluster.tap_stop()
    seen = [flow(frame) for frame in frames if frame.port == MASTER]
    assert [one for one in dict.fromkeys(seen) if one != "arp"] == [
        "udp 192.168.2.114 192.168.2.200 80", "udp 192.168.2.114 192.168.2.115 30000",
        "tcp 192.168.2.114 192.168.2.115 32767", "udp 192.168.2.114 192.168.2.50 9",
    ]
    assert "arp" in seen
    assert any(frame.port == WORKER and flow(frame).startswith("tcp 192.168.2.115") for frame in frames)
    assert all(len(frame.data) <= tap.LONGEST for frame in frames)
    times = [frame.at for frame in frames]
    assert before < times[0] <= times[-1] < time.monotonic()
    assert times == sorted(times)


async def test_times_are_those_of_the_machine(cluster: NetnsCluster) -> None:
    script = ("import socket, time\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect(('192.168.2.200', 9))\n"
              "for n in range(50):\n    s.send(repr(time.monotonic()).encode()); time.sleep(0.002)\n")
    await cluster.tap_start()
    await cluster.run_on(MASTER, ["python3", "-c", script], timeout=5)
    frames = [frame for frame in await cluster.tap_stop() if flow(frame).startswith("udp")]
    late = sorted(frame.at - float(frame.data[42:]) for frame in frames)
    assert len(late) == 50
    # Under 1 ms when measured alone; a clock that is not the machine's would be off by far more than this.
    assert -0.0001 < late[0] <= late[len(late) // 2] < 0.01


async def test_what_comes_to_a_dead_port_is_not_on_the_switch(cluster: NetnsCluster) -> None:
    await cluster.tap_start()
    with pytest.raises(ClusterError, match="runs already"):
        await cluster.tap_start()
    await cluster.cut_link(MASTER, silently=True)
    await send(cluster, MASTER, "udp/192.168.2.200/7")
    await cluster.heal_link(MASTER)
    await send(cluster, MASTER, "udp/192.168.2.200/8")
    frames = [flow(frame) for frame in await cluster.tap_stop()]
    assert "udp 192.168.2.114 192.168.2.200 8" in frames
    assert "udp 192.168.2.114 192.168.2.200 7" not in frames
    with pytest.raises(ClusterError, match="does not run"):
        await cluster.tap_stop()


async def test_ten_thousand_frames_a_second_are_all_there(cluster: NetnsCluster) -> None:
    script = ("import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              "s.connect(('192.168.2.200', 9))\nend = time.monotonic()\n"
              "for n in range(5000):\n    s.send(b'x'); end += 0.0001\n"
              "    while time.monotonic() < end: pass\n")
    await cluster.tap_start()
    await cluster.run_on(MASTER, ["python3", "-c", script], timeout=10)
    assert sum(flow(frame).startswith("udp") for frame in await cluster.tap_stop()) == 5000
