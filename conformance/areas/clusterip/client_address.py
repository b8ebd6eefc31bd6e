"""CLUSTERIP-06: the backend sees who asks."""

from __future__ import annotations

import asyncio

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


async def seen_as_itself(lab: Lab, here: int, there: int) -> None:
    """The client on node ``here`` is seen by a pod on node ``there`` as the pod that it is."""
    backends = await lab.backends(1, nodes=[lab.nodes[there]], name=f"on-{there}")
    served = await lab.service([port(80)], backends, name=f"on-{there}")
    client, attempt = lab.clients[here], lab.timing.attempt.seconds
    aims = [Aim(client, Probe("tcp", (served.ip, 80), count=100, timeout=attempt))]
    exactly = Answered(by=backends.nonces, source=frozenset(client.addresses))
    says = f"a pod on {lab.nodes[there].name} sees the client on {lab.nodes[here].name} by its own address"
    await lab.serves(f"from {client.name}", aims, exactly, says)


@requirement(
    "CLUSTERIP-06", Level.CORE, needs={"two-nodes"}, features={Feature.CLIENT_ADDRESS},
    source="e2e service.go, 'should preserve source pod IP for traffic thru service cluster IP'; "
    "kubernetes.io/docs/tutorials/services/source-ip",
)
async def client_address(lab: Lab) -> None:
    """A backend MUST see the address of the pod that asks from another node, both ways round."""
    await asyncio.gather(seen_as_itself(lab, 0, 1), seen_as_itself(lab, 1, 0))
