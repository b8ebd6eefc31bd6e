"""TOPOLOGY-05: the pod on the client's own node, while it can."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim


@requirement(
    "TOPOLOGY-05", Level.EXT, needs={"two-nodes"}, features={Feature.SAME_NODE},
    source="e2e traffic_distribution.go, 'should fall back when the endpoint becomes unavailable' "
    "(PreferSameNode, KEP-3015)",
)
async def same_node(lab: Lab) -> None:
    """With PreferSameNode the local pod alone MUST answer; when it turns unready the other, and it again."""
    backends = await lab.backends(2, nodes=lab.nodes[:2])
    served = await lab.service([port(80)], backends, trafficDistribution="PreferSameNode")
    here, there = backends.pods
    probe = Probe("tcp", (served.ip, 80), count=60, timeout=lab.timing.attempt.seconds)
    aims, away = [Aim(lab.clients[0], probe)], [Aim(lab.clients[1], probe)]
    local, other = Answered(by=frozenset({here.nonce})), Answered(by=frozenset({there.nonce}))
    says = "the pod on the client's own node answers"
    if not await lab.serves("local", aims, local, says) or not await lab.serves("there", away, other, says):
        return
    await here.vantage.ready(False)
    await lab.endpoints(served, {there.ip})
    says = "without a ready pod on its node the client is served by the other"
    if not await lab.serves("fallen back", aims, other, says, within=lab.timing.joins):
        return
    await here.vantage.ready(True)
    await lab.endpoints(served, {here.ip, there.ip})
    says = "the pod on the client's own node answers again"
    await lab.serves("local again", aims, local, says, within=lab.timing.joins)
