"""ETP-04: with Local, a node without an endpoint says nothing."""

from __future__ import annotations

from conformance.expectations import Answered, Dropped, Refused
from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


@requirement(
    "ETP-04", Level.CORE, needs={"two-nodes", "outside"},
    source="kubernetes.io/docs/reference/networking/virtual-ips#external-traffic-policy: traffic is dropped, "
    "so that a load balancer may try another node",
)
async def local_without_endpoint(lab: Lab) -> None:
    """With policy Local a node without an endpoint MUST drop what comes from outside, or do as declared."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served = await lab.service([port(80)], backends, type="NodePort", externalTrafficPolicy="Local")

    def to(number: int, timeout: float) -> Aim:
        target = (lab.nodes[number].addresses[0], served.node_port())
        return Aim(lab.outside, Probe("tcp", target, count=100, concurrency=100, timeout=timeout))

    kept = lab.declaration.supports(Feature.CLIENT_ADDRESS)
    seen = Answered(by=backends.nonces, source=frozenset(lab.outside.addresses) if kept else None)
    says = "the pod answers through its own node" + (", and sees the client's own address" if kept else "")
    if not await lab.serves("with an endpoint", [to(0, lab.timing.attempt.seconds)], seen, says):
        return
    reject = lab.declaration.conduct(Feature.ETP_LOCAL_EMPTY) == "reject"
    aims = [to(number, SILENCE) for number in range(1, len(lab.nodes))]
    says = "a node without an endpoint " + ("refuses, as declared" if reject else "drops")
    await lab.serves("without an endpoint", aims, Refused() if reject else Dropped(), says)
