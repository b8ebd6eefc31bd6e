"""EXTERNALIP-06: clients of the cluster know no outside."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement

ADDRESS = "203.0.113.252"


@requirement(
    "EXTERNALIP-06", Level.CORE, needs={"two-nodes"}, features={Feature.EXTERNAL_IPS},
    source="kubernetes #131765: pods on a node without endpoint could not reach a Local Service's external "
    "address; no suite looks",
)
async def local_policy(lab: Lab) -> None:
    """With externalTrafficPolicy Local pods on every node MUST reach the external address."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served = await lab.service(
        [port(80)], backends, type="NodePort", externalIPs=[ADDRESS], externalTrafficPolicy="Local")
    probe = Probe("tcp", (ADDRESS, served.ports[0]["port"]), count=100, timeout=lab.timing.attempt.seconds)
    says = "the pod answers, wherever the client runs"
    await lab.serves("from inside", each(lab.clients, probe), Answered(by=backends.nonces), says)
