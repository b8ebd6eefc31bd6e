"""The addresses this node has on its interfaces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from implementation.node import command


def local() -> tuple[str, ...]:
    """Every address of every interface. Raises CommandError."""
    found = json.loads(command.run(["ip", "-json", "address", "show"]))
    return tuple(info["local"] for link in found for info in link.get("addr_info", ()) if "local" in info)


def matching(addresses: Iterable[str], networks: Sequence[str]) -> tuple[str, ...] | None:
    """The addresses that lie in one of ``networks``; None ("all of them") where there is no network.

    A family for which no network is given is not narrowed: its addresses all match (upstream's rule).
    """
    if not networks:
        return None
    parsed = [ip_network(network) for network in networks]
    given = {network.version for network in parsed}
    kept = []
    for text in addresses:
        address = ip_address(text)
        if address.version not in given or any(address in network for network in parsed):
            kept.append(text)
    return tuple(sorted(kept))


def hold_loopback(networks: Sequence[str]) -> bool:
    """True when node ports on these networks (none: all; "primary": the Node's own) include 127.0.0.0/8."""
    if not networks:
        return True
    return any(
        ip_network(n).is_loopback or n == "0.0.0.0/0" for n in networks if n != "primary" and ":" not in n
    )
