"""Host ports: a port of the node that leads to a pod, as the network plug-in ``portmap`` makes them.

After the Service proxy's chains (they have priority -100): an address that a Service answers on is the
Service's. Only addresses of the node itself are concerned.
"""

from __future__ import annotations

from typing import Any

from clusters.base import ClusterError
from clusters.netns.hosts import Host, run
from clusters.netns.program import Program

Object = dict[str, Any]
_SECONDS = 20.0  # patience with nft
_TABLE = """
table ip hostports {
    map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
    chain prerouting { type nat hook prerouting priority -99; policy accept; }
    chain output { type nat hook output priority -99; policy accept; }
}
flush chain ip hostports prerouting
flush chain ip hostports output
add rule ip hostports prerouting fib daddr type local dnat ip to meta l4proto . th dport map @ports
add rule ip hostports output fib daddr type local dnat ip to meta l4proto . th dport map @ports
"""


def wanted(pod: Object) -> list[tuple[str, int, int]]:
    """Protocol, port of the node and port of the pod, for each host port that a pod asks for."""
    return [
        (port.get("protocol", "TCP").lower(), port["hostPort"], port["containerPort"])
        for container in pod["spec"]["containers"] for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def opened(pod: Object, address: str) -> str:
    """The nft text that leads a pod's host ports to its address."""
    elements = ", ".join(
        f"{protocol} . {port} : {address} . {inner}" for protocol, port, inner in wanted(pod))
    return f"{_TABLE}add element ip hostports ports {{ {elements} }}\n"


def closed(pod: Object) -> str:
    """The nft text that takes them away."""
    return "delete element ip hostports ports { " + ", ".join(
        f"{protocol} . {port}" for protocol, port, _inner in wanted(pod)) + " }\n"


async def write(host: Host, environment: dict[str, str], text: str) -> None:
    """Have a node's nft take a text; ClusterError with its words when it does not."""
    program = Program(argv=("nft", "-f", "-"), env=environment)
    status, _out, error = await run(host, program, timeout=_SECONDS, stdin=text.encode())
    if status != 0:
        raise ClusterError(f"node {host.name}: host ports refused: {error.strip() or status}")
