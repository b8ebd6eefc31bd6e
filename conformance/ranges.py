"""The ranges from which the API server gives Service addresses and node ports, in its own words.

Kubernetes gives numbers nobody asked for from the upper part of a range first (KEP-3070, KEP-3668), so one
from the lower part can be asked for, freed and asked for again without anybody taking it by chance.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from conformance.kube import KubeError
from conformance.lab import Lab
from conformance.objects import Object, port, service

T = TypeVar("T", int, str)
LOWEST = 16  # Kubernetes' smallest lower part of a range
_PORTS = re.compile(r"The range of valid ports is (\d+)-(\d+)")
_ADDRESSES = re.compile(r"[Tt]he range of valid IPs is ([0-9a-fA-F:.]+/\d+)")
FOREIGN = "192.0.2.1"  # an address for documentation, in nobody's Service range


def asking(lab: Lab, name: str, number: int) -> Object:
    """A NodePort Service that asks for port ``number`` of the nodes."""
    return service(name, lab.rig.run, [port(80, node_port=number)], {"app": "nobody"}, type="NodePort")


async def port_range(lab: Lab) -> tuple[int, int]:
    """First and last NodePort, in the server's own words when it refuses port 1. Raises KubeError."""
    refused = await lab.attempt("refusal of port 1", asking(lab, "port-1", 1))
    found = _PORTS.search(str(refused.body.get("message", "")))
    if not found:
        raise KubeError(f"the refusal of NodePort 1 names no range: {refused.said()}")
    return int(found[1]), int(found[2])


async def address_ranges(lab: Lab) -> list[str]:
    """The Service networks: of the ServiceCIDR objects (1.33), else in the words that refuse a foreign
    address.

    Servers that have such objects name no network in their words; where there is neither, none is known.
    """
    wanted = service("foreign", lab.rig.run, [port(80)], clusterIP=FOREIGN)
    refused = await lab.attempt("a foreign address", wanted)
    listed = await lab.kube.request("GET", "/apis/networking.k8s.io/v1/servicecidrs")
    items = listed.body.get("items") or () if listed.ok else ()
    told = [cidr for one in items for cidr in one["spec"]["cidrs"]]
    return told or _ADDRESSES.findall(str(refused.body.get("message", "")))


@dataclass(frozen=True)
class Numbers:
    """Free numbers of the lower parts, each given to one requirement of the run."""

    ports: Iterator[int]
    addresses: Iterator[str]


async def free_port(lab: Lab) -> int:
    """A node port that nobody has and nobody is given unasked. Raises KubeError when none is left."""
    return _given(next((await _numbers(lab)).ports, 0), "node port")


async def free_address(lab: Lab) -> str:
    """A Service address that nobody has and nobody is given unasked. Raises KubeError when none is left."""
    return _given(next((await _numbers(lab)).addresses, ""), "Service address")


async def _numbers(lab: Lab) -> Numbers:
    return await lab.rig.once("numbers of the lower parts", lambda: _lowest(lab))


async def _lowest(lab: Lab) -> Numbers:
    """What the lowest sixteen numbers of each range have free now, in any order."""
    answer = await lab.kube.request("GET", "/api/v1/services")
    if not answer.ok:
        raise KubeError(f"list Services: {answer.said()}")
    specs = [one["spec"] for one in answer.body.get("items") or ()]
    ports = {one.get("nodePort") for spec in specs for one in spec.get("ports") or ()}
    taken = {address for spec in specs for address in spec.get("clusterIPs") or ()}
    first, _ = await port_range(lab)
    networks = [ipaddress.ip_network(one) for one in await address_ranges(lab)]
    low = [str(network[number]) for network in networks[:1] for number in range(1, LOWEST + 1)]
    free_ports = [number for number in range(first, first + LOWEST) if number not in ports]
    free_addresses = [address for address in low if address not in taken]
    random.shuffle(free_ports)
    random.shuffle(free_addresses)
    return Numbers(iter(free_ports), iter(free_addresses))


def _given(number: T, what: str) -> T:
    if not number:
        raise KubeError(f"no {what} of the lowest {LOWEST} is free, so none can be asked for")
    return number
