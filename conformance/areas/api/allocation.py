"""API-01: what the API server gives, and what it refuses."""

from __future__ import annotations

import ipaddress

from conformance.lab import Lab
from conformance.objects import Object, port
from conformance.ranges import FOREIGN, address_ranges, asking, free_port, port_range
from conformance.requirements import Level, requirement


def inside(address: str, networks: list[str]) -> bool:
    """True when the address lies in one of the networks."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in networks)


def refusal(name: str, number: int, why: str) -> Object:
    """What Kubernetes answers to a NodePort that it does not give."""
    said = f'Service "{name}" is invalid: spec.ports[0].nodePort: Invalid value: {number}: {why}'
    return {"code": 422, "reason": "Invalid", "message": said}


async def refused(lab: Lab, number: int, why: str) -> None:
    """Ask for a NodePort that must be refused with ``why``."""
    name = f"port-{number}"
    await lab.attempt(f"NodePort {number}", asking(lab, name, number))
    expected = {"expected": refusal(name, number, why)}
    lab.expect_value("equals", f"NodePort {number}", expected, f"NodePort {number} is refused: {why}")


@requirement(
    "API-01", Level.CORE,
    source="kubernetes.io/docs/concepts/services-networking/service#type-nodeport, #choosing-your-own-port; "
    "e2e service.go, 'check NodePort out-of-range'; the words are those of the API server's port allocator",
)
async def allocation(lab: Lab) -> None:
    """A NodePort out of range or taken MUST be refused in Kubernetes' words, and a free one given."""
    first, last = await port_range(lab)
    networks = await address_ranges(lab)
    lab.expect_value("includes", "a foreign address", {"expected": {"code": 422, "reason": "Invalid"}},
                     f"clusterIP {FOREIGN} is refused")
    made = [await lab.service([port(80)], name=f"plain-{number}", type="NodePort") for number in range(3)]
    addresses, ports = [one.ip for one in made], [one.node_port() for one in made]
    strays = [one for one in addresses if networks and not inside(one, networks)]
    strays += [str(one) for one in ports if not first <= one <= last]
    lab.value("allocated", {
        "addresses": len(set(addresses)), "ports": len(set(ports)), "out of range": strays,
    })
    right = {"addresses": 3, "ports": 3, "out of range": []}
    lab.expect_value("equals", "allocated", {"expected": right}, "all are unique and in range")
    outside = f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
    await refused(lab, first - 1, outside)
    await refused(lab, last + 1, outside)
    await refused(lab, ports[0], "provided port is already allocated")
    free = await free_port(lab)  # of the part that nobody is given from by chance
    await lab.attempt("a free port", asking(lab, "free", free))
    lab.expect_value("equals", "a free port", {"expected": {"code": 201}}, f"free port {free} is given")
