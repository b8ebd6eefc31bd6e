"""HEALTH-02, HEALTH-04: a load balancer asks each node whether it has endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from conformance.expectations import Answered, Unanswered
from conformance.lab import Backends, Lab, Served
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds
UPSTREAM = "e2e loadbalancer.go, 'should only target nodes with endpoints'; KEP-3458"


async def balanced(lab: Lab) -> tuple[Served, int, Backends]:
    """A Service with policy Local and one pod, on the first node; and its healthCheckNodePort."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served = await lab.service([port(80)], backends, type="LoadBalancer", externalTrafficPolicy="Local")
    made = await lab.kube.get("Service", "v1", served.namespace, served.name)
    return served, int(made["spec"]["healthCheckNodePort"]), backends


def asking(lab: Lab, number: int, nodes: Sequence[int], timeout: float) -> list[Aim]:
    """The health checks of these nodes, asked from outside."""
    probes = [Probe("http", (lab.nodes[at].addresses[0], number), count=20, timeout=timeout) for at in nodes]
    return [Aim(lab.outside, probe) for probe in probes]


async def tells(lab: Lab, name: str, number: int, nodes: Sequence[int], status: int, says: str) -> bool:
    """These nodes answer with this HTTP status."""
    aims = asking(lab, number, nodes, lab.timing.attempt.seconds)
    return bool(await lab.serves(name, aims, Answered(says=f"{status},"), says))


@requirement("HEALTH-02", Level.CORE, needs={"two-nodes", "outside"}, source=UPSTREAM)
async def endpoints_here(lab: Lab) -> None:
    """The healthCheckNodePort MUST answer 200 on nodes with a ready endpoint, and 503 on all others."""
    served, number, backends = await balanced(lab)
    others, says = range(1, len(lab.nodes)), "a node without a ready endpoint answers 503"
    here = await tells(lab, "with", number, [0], 200, "the node of the ready pod answers 200")
    if not here or not await tells(lab, "without", number, others, 503, says):
        return
    await asyncio.gather(*[pod.vantage.ready(False) for pod in backends.pods])
    await lab.endpoints(served, ())
    await tells(lab, "unready", number, range(len(lab.nodes)), 503, says)


@requirement("HEALTH-04", Level.CORE, needs={"two-nodes", "outside"}, source=f"{UPSTREAM}, its clean-up")
async def closed(lab: Lab) -> None:
    """The healthCheckNodePort MUST be closed on every node once the Service has none any more."""
    served, number, _ = await balanced(lab)
    if not await tells(lab, "open", number, [0], 200, "the node of the ready pod answers 200"):
        return
    await lab.update(served, type="ClusterIP", externalTrafficPolicy=None, healthCheckNodePort=None)
    aims = asking(lab, number, range(len(lab.nodes)), SILENCE)
    await lab.serves("closed", aims, Unanswered(), "nobody answers at the port")
