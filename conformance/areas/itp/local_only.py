"""ITP-01, ITP-02, ITP-04: with Local, endpoints of the client's own node only."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.expectations import Answered, Expectation, Unanswered, local_empty
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.vantage import Vantage

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds
UPSTREAM = "e2e service.go, 'should respect internalTrafficPolicy=Local'"


async def near_and_far(lab: Lab, clients: Sequence[Vantage], far: Expectation) -> None:
    """A pod on the first node answers that node's client; what the others meet is ``far``."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served = await lab.service([port(80)], backends, internalTrafficPolicy="Local")
    near = each(clients[:1], Probe("tcp", (served.ip, 80), count=100, timeout=lab.timing.attempt.seconds))
    if not await lab.serves("near", near, Answered(by=backends.nonces), "the pod on its own node answers"):
        return
    probe = Probe("tcp", (served.ip, 80), count=100, concurrency=100, timeout=SILENCE)
    says = f"without an endpoint on its node a client gets no answer: {far.sentence()}"
    await lab.serves("far", each(clients[1:], probe), far, says)


@requirement("ITP-01", Level.CORE, needs={"two-nodes"}, source=f"{UPSTREAM}, 'Pod to Pod'")
async def pods(lab: Lab) -> None:
    """With Local a pod MUST reach endpoints of its own node, and nobody from a node without one."""
    await near_and_far(lab, lab.clients, Unanswered())


@requirement(
    "ITP-02", Level.CORE, needs={"two-nodes"}, source=f"{UPSTREAM}, 'Pod (hostNetwork: true) to Pod'",
)
async def nodes(lab: Lab) -> None:
    """With Local a process on a node MUST reach endpoints of that node, and nobody where there is none."""
    await near_and_far(lab, [agent.vantage for agent in await lab.rig.node_agents()], Unanswered())


@requirement(
    "ITP-04", Level.IMPL, needs={"two-nodes"}, features={Feature.ITP_LOCAL_EMPTY},
    source="kpng's service-proxy.md says drop; upstream's test accepts any error",
)
async def as_declared(lab: Lab) -> None:
    """With Local a client without an endpoint on its node MUST be dropped or refused, as declared."""
    await near_and_far(lab, lab.clients, local_empty(lab.declaration.conduct(Feature.ITP_LOCAL_EMPTY)))
