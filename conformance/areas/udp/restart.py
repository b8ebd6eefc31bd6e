"""UDP-09: the proxy is restarted, and every flow keeps its pod."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import port
from conformance.pinned import flow, fresh, note, unmoved
from conformance.requirements import Level, requirement
from conformance.restarting import proxy, restart

FLOWS = 8  # from each client; with two backends all of two clients' flows stay by chance with 1.5e-5


@requirement(
    "UDP-09", Level.CORE, needs={"two-nodes", "snapshot", "signal"}, disruptive=True,
    features={Feature.SEAMLESS_RESTART},
    source="kubernetes #122740: a restart of kube-proxy ended every UDP flow; no suite looks",
)
async def restarted(lab: Lab) -> None:
    """Flows to a UDP Service MUST keep their pod over a restart of the proxy on every node."""
    backends = await lab.backends(2)
    served = await lab.service([port(80, protocol="UDP")], backends)
    flows = [flow(lab, client, (served.ip, 80), at)
             for client in lab.clients for at in range(FLOWS)]
    others = fresh([flow(lab, client, (served.ip, 80)) for client in lab.clients])
    if not await lab.serves("before", others, Answered(by=backends.nonces), "a pod answers, from every node"):
        return
    await note(lab, flows)
    command = await proxy(lab, lab.nodes[0].name)
    for node in lab.nodes:
        await restart(lab, node.name, command)
    says = "new flows are served after the restart"
    if await lab.serves("after", others, Answered(by=backends.nonces), says):
        await note(lab, flows)
        unmoved(lab, flows, backends, "the flow goes to the same pod before and after the restart")
