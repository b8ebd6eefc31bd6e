"""The stand-in for klipper-lb, the program of k3s's ServiceLB: sends one port of its pod to a Service.

Takes klipper-lb's own environment: SRC_PORT, DEST_PROTO, DEST_PORT, DEST_IPS. What it forwards goes on under
the pod's own address, as there; so the client's address is lost, with externalTrafficPolicy Local too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from clusters import commands

_SECONDS = 20.0  # patience with nft


def rules(environment: Mapping[str, str]) -> tuple[str, str]:
    """The name of the nft table and the text that makes it. KeyError: a variable is missing."""
    port, protocol = int(environment["SRC_PORT"]), environment["DEST_PROTO"].lower()
    address, target = environment["DEST_IPS"].split(",")[0], int(environment["DEST_PORT"])
    name = f"lb-{protocol}-{port}"
    return name, f"""
table ip {name} {{
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {protocol} dport {port} dnat to {address}:{target}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip daddr {address} {protocol} dport {target} masquerade
    }}
}}
"""


def main(_args: Sequence[str]) -> int:
    """Write the rules into the pod's own namespace and wait for SIGTERM; 1 when nft refuses them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    name, text = rules(os.environ)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # Deleted first: after a restart of the container the pod's namespace still has it.
    whole = f"table ip {name}\ndelete table ip {name}\n{text}"
    done = commands.run(["nft", "-f", "-"], timeout=_SECONDS, stdin=whole)
    if done.status != 0:
        print(f"nft: {done.error.strip()}", flush=True)  # noqa: T201
        return 1
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0
