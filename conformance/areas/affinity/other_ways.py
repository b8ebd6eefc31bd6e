"""AFFINITY-02, AFFINITY-07: a client keeps its backend at a NodePort, and over UDP."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.expectations import Answered
from conformance.lab import Backends, Lab
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.sticking import sticks
from conformance.timing import Aim

COUNT = 60  # without affinity one of three answers them all with less than 1e-27


async def single(lab: Lab, aims: Sequence[Aim], backends: Backends) -> None:
    """From each place all are answered, and by the same pod."""
    if not await lab.serves("before", aims, Answered(by=backends.nonces), "a selected pod answers"):
        return
    await sticks(lab, aims, backends)


@requirement(
    "AFFINITY-02", Level.CORE, needs={"outside"},
    source="e2e service.go, 'should have session affinity work for NodePort service'",
)
async def node_port(lab: Lab) -> None:
    """With ClientIP all 60 connections of a client to a NodePort MUST reach one of three backends."""
    backends = await lab.backends(3)
    served = await lab.service([port(80)], backends, type="NodePort", sessionAffinity="ClientIP")
    target, attempt = (lab.nodes[0].addresses[0], served.node_port()), lab.timing.attempt.seconds
    probe = Probe("tcp", target, count=COUNT, timeout=attempt)
    await single(lab, [Aim(one, probe) for one in (lab.outside, *lab.clients)], backends)


@requirement(
    "AFFINITY-07", Level.CORE,
    source="e2e networking.go, 'should function for client IP based session affinity: udp', with 10 requests",
)
async def udp(lab: Lab) -> None:
    """With ClientIP all 60 datagrams of a pod, from changing ports, MUST reach one of three backends."""
    backends = await lab.backends(3)
    served = await lab.service([port(80, protocol="UDP")], backends, sessionAffinity="ClientIP")
    probe = Probe("udp", (served.ip, 80), count=COUNT, timeout=lab.timing.attempt.seconds)
    await single(lab, [Aim(one, probe) for one in lab.clients], backends)
