"""What can be done to a kind node: its network cut, its power taken, paused, a signal sent to its processes.

A silent cut is a rule of the node's own ingress and egress hooks: the carrier stays, nothing passes, and
Docker still reaches the node to undo it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

from clusters.base import ClusterError
from clusters.kind.docker import checked, docker, inside, inspect

_TABLE = "service-conformance-cut"
_CUT = f"""table netdev {_TABLE} {{
  chain in {{ type filter hook ingress device eth0 priority -500; policy drop; }}
  chain out {{ type filter hook egress device eth0 priority -500; policy drop; }}
}}
"""
_LIFT = 'for one; do file=/proc/sys/net/${one%%=*}; [ ! -e $file ] || echo ${one#*=} > $file; done'
_UPTIME = "cut -d' ' -f1 /proc/uptime"
_ROUTES = "/run/service-conformance-routes"
# A link that goes down loses its routes, and its IPv6 addresses unless told to keep them.
_PULL = f"""echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down || true
for family in 4 6; do
  ip -$family route show dev eth0 | sed '/proto kernel/d; s/.*/route replace & dev eth0/' > {_ROUTES}-$family
done
ip link set eth0 down"""
_PLUG = f"""nft delete table netdev {_TABLE} 2>/dev/null || true
[ -f {_ROUTES}-4 ] || exit 0
ip link set eth0 up
for family in 4 6; do ip -$family -force -batch {_ROUTES}-$family || true; done
ip link show dev eth0 up | grep -q eth0
rm -f {_ROUTES}-*"""
_STATE = f"""if [ -f {_ROUTES}-4 ] || nft list table netdev {_TABLE} > /dev/null 2>&1
then echo cut off
else echo whole
fi"""


async def cut(container: str, *, silently: bool) -> float:
    """Cut the node off; gives seconds on CLOCK_MONOTONIC just after the act. Raises ClusterError."""
    if silently:
        return await _timed(container, "nft -f -", stdin=_CUT)
    return await _timed(container, _PULL)


async def _timed(container: str, script: str, *, stdin: str = "") -> float:
    """Run a script in the node; gives when it had ended there, by the kernel's clock of 10 ms.

    Docker's own way back takes longer than what is measured. Where the node's kernel is not this one (a
    virtual machine), it is when Docker told.
    """
    began = time.monotonic()
    told = await docker("exec", "-i", container, "sh", "-ec", f"{script}\n{_UPTIME}", stdin=stdin)
    ended = time.monotonic()
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    there = float((told.split() or ["0"])[-1]) - asleep
    return there if began - 0.01 <= there <= ended else ended


async def heal(container: str) -> float:
    """Undo a cut of either kind; a link that is whole stays so. Raises ClusterError."""
    await checked(container, "sh", "-ec", _PLUG)
    return time.monotonic()


async def power_off(container: str) -> float:
    """Silence the node, then end every process of it; its network goes with them. Raises ClusterError.

    The network outlives the processes by as long as Docker takes to clear away, which no power cut does.
    """
    silenced = None
    with suppress(ClusterError):  # a kernel before 5.16 cannot: then it is when Docker told
        silenced = await cut(container, silently=True)
    await docker("kill", container)
    return time.monotonic() if silenced is None else silenced


async def power_on(container: str) -> float:
    """Start the node again. Raises ClusterError."""
    await docker("start", container)
    return time.monotonic()


async def pause(container: str) -> float:
    """Freeze every process of the node; its kernel, and so its network, goes on. Raises ClusterError."""
    await docker("pause", container)
    return time.monotonic()


async def resume(container: str) -> float:
    """Thaw the node; one that is not paused stays as it is. Raises ClusterError."""
    if (await inspect(container))["State"]["Paused"]:
        await docker("unpause", container)
    return time.monotonic()


async def lift(container: str, settings: Mapping[str, int]) -> None:
    """Write settings of the node below net, those that its kernel has. Raises ClusterError."""
    words = [f"{name}={value}" for name, value in settings.items()]
    await checked(container, "sh", "-ec", _LIFT, "sh", *words)


async def wrong(container: str) -> str:
    """What a fault did to the node and nobody undid; empty when it is whole. Raises ClusterError."""
    state = (await inspect(container))["State"]
    if state["Paused"]:
        return "paused"
    if not state["Running"]:
        return "without power"
    told = (await checked(container, "sh", "-ec", _STATE)).strip()
    return "" if told == "whole" else told


async def mend(container: str) -> None:
    """Undo whatever a fault did to the node. Raises ClusterError."""
    if not (await inspect(container))["State"]["Running"]:
        await power_on(container)
    await resume(container)
    await heal(container)


async def signal(container: str, command: str, number: int) -> float:
    """Send a signal to every process of the node that is called ``command``. Raises ClusterError."""
    status, _, said = await inside(container, ["pkill", f"-{number}", "-x", command[:15]], timeout=20.0)
    if status == 1:
        raise ClusterError(
            f"{container}: no process is called {command}; {container} has those of `docker top {container}`"
        )
    if status != 0:
        raise ClusterError(f"{container}: pkill -{number} {command}: {said.strip()}")
    return time.monotonic()
