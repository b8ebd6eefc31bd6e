"""ITP-08: the policy changes while the Service is in use."""

from __future__ import annotations

from conformance.expectations import Answered, Unanswered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


@requirement(
    "ITP-08", Level.CORE, needs={"two-nodes"},
    source="kubernetes.io/docs/concepts/services-networking/service-traffic-policy; no suite changes it",
)
async def changes(lab: Lab) -> None:
    """A change of internalTrafficPolicy, to Local and back, MUST take effect on every node."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served = await lab.service([port(80)], backends)
    everybody = each(lab.clients, Probe("tcp", (served.ip, 80), count=50, timeout=lab.timing.attempt.seconds))
    right, says = Answered(by=backends.nonces), "the pod answers from every node"
    if not await lab.serves("Cluster", everybody, right, says):
        return
    await lab.update(served, internalTrafficPolicy="Local")
    quick = Probe("tcp", (served.ip, 80), count=50, concurrency=50, timeout=SILENCE)
    says = "with Local nobody answers clients of other nodes"
    if not await lab.serves("Local", each(lab.clients[1:], quick), Unanswered(), says):
        return
    await lab.update(served, internalTrafficPolicy="Cluster")
    await lab.serves("Cluster again", everybody, right, "the pod answers from every node again")
