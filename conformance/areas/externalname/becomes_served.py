"""EXTERNALNAME-01, EXTERNALNAME-02: a name that becomes a Service with pods."""

from __future__ import annotations

from typing import Any

from conformance.expectations import Answered
from conformance.lab import Backends, Lab, Served, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


async def becomes(lab: Lab, backends: Backends, **spec: Any) -> Served:
    """A Service that was an ExternalName and is of another type now, once its slices list the backends."""
    name = await lab.service([], type="ExternalName", externalName="elsewhere.example")
    served = await lab.update(
        name, externalName="", ports=[port(80)], selector=dict(backends.selector), **spec)
    await lab.endpoints(served, backends.addresses(served.families))
    lab.value("has an address", bool(served.ip))
    lab.expect_value("equals", "has an address", {"expected": True}, "it is given a clusterIP")
    return served


@requirement(
    "EXTERNALNAME-01", Level.CORE,
    source="e2e service.go, 'should be able to change the type from ExternalName to ClusterIP'",
)
async def cluster_ip(lab: Lab) -> None:
    """An ExternalName that becomes a ClusterIP Service MUST get an address, and be served there."""
    backends = await lab.backends(2)
    served = await becomes(lab, backends, type="ClusterIP")
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=100, timeout=lab.timing.attempt.seconds))
    await lab.serves("clusterIP", aims, Answered(by=backends.nonces), "a selected pod answers there")


@requirement(
    "EXTERNALNAME-02", Level.CORE, needs={"outside"},
    source="e2e service.go, 'should be able to change the type from ExternalName to NodePort'",
)
async def node_port(lab: Lab) -> None:
    """An ExternalName that becomes a NodePort Service MUST be served at the port of every node."""
    backends = await lab.backends(2)
    served = await becomes(lab, backends, type="NodePort")
    attempt, number = lab.timing.attempt.seconds, served.node_port()
    probes = [Probe("tcp", (node.addresses[0], number), count=50, timeout=attempt) for node in lab.nodes]
    aims = [Aim(lab.outside, probe) for probe in probes]
    await lab.serves("NodePort", aims, Answered(by=backends.nonces), "a selected pod answers at every node")
