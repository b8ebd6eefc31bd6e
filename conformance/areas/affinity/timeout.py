"""AFFINITY-05: a client that was idle for longer than the timeout is anybody's again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim, origin

TIMEOUT = 1  # seconds
# Seconds idle, and attempts, of a pod and of a process on its node. By chance both meet only one of two
# backends in 1 of a million cases; at one pace a round robin could give each client in turn its own for ever.
PACES = ((1.2, 13), (1.8, 9))


@requirement(
    "AFFINITY-05", Level.CORE,
    source="kubernetes.io/docs/reference/networking/virtual-ips#session-affinity, timeoutSeconds; e2e "
    "service.go, 'should have session affinity timeout work for service with type clusterIP', with 125 s",
)
async def timeout(lab: Lab) -> None:
    """On each node a client idle for longer than timeoutSeconds MUST get any of two backends again."""
    backends = await lab.backends(2)
    config = {"clientIP": {"timeoutSeconds": TIMEOUT}}
    served = await lab.service(
        [port(80)], backends, sessionAffinity="ClientIP", sessionAffinityConfig=config)
    on_nodes = [agent.vantage for agent in await lab.rig.node_agents()]
    everybody = [vantage for pair in zip(lab.clients, on_nodes, strict=True) for vantage in pair]
    right = Answered(by=backends.nonces)
    quick = Probe("tcp", (served.ip, 80), timeout=lab.timing.attempt.seconds)
    if not await lab.serves("before", each(everybody, quick), right, "a selected pod answers"):
        return
    aims = [Aim(vantage, replace(quick, count=count, interval=idle))
            for vantage, (idle, count) in zip(everybody, PACES * len(lab.nodes), strict=True)]
    seen = await asyncio.gather(*[lab.probe(f"idle, {origin(aim)}", aim.vantage, aim.probe) for aim in aims])
    for aim in aims:
        acceptable = {"acceptable": right.to_json()}
        lab.expect("every", f"idle, {origin(aim)}", acceptable, "a selected pod answers, on every try")
    for node, (pod, process) in zip(lab.nodes, zip(seen[::2], seen[1::2], strict=True), strict=True):
        met = [len({one.by for one in attempts.outcomes}) for attempts in (pod, process)]
        lab.value(f"met on {node.name}", {"free": max(met) > 1, "backends met": met})
        says = "after idle times the backend is chosen anew, so a client of the node meets both"
        lab.expect_value("includes", f"met on {node.name}", {"expected": {"free": True}}, says)
