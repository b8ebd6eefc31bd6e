"""ENDPOINTS-02: datagrams and NodePorts are refused, too, where nobody serves."""

from __future__ import annotations

from conformance.expectations import Answered, nobody
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Kind, Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

PROTOCOLS: tuple[Kind, ...] = ("tcp", "udp")


@requirement(
    "ENDPOINTS-02", Level.CORE, disruptive=True, needs={"outside"},  # alone: refusals are rationed
    source="RFC 1122, 3.2.2.1: port unreachable for a datagram that nobody takes; e2e service.go, 'be "
    "rejected when no endpoints exist', looks at TCP to the clusterIP only",
)
async def refused_elsewhere(lab: Lab) -> None:
    """Without endpoints datagrams MUST be refused like connections, at the clusterIP and the NodePort."""
    backends = await lab.backends(1)
    ports = [port(80, protocol=word.upper(), name=word) for word in PROTOCOLS]
    attempt = lab.timing.attempt.seconds

    def aims(address: str, numbers: dict[Kind, int]) -> list[Aim]:
        inside = each(lab.clients, Probe("udp", (address, 80), count=20, timeout=attempt))
        node = lab.nodes[0].addresses[0]
        return inside + [Aim(lab.outside, Probe(word, (node, number), count=20, timeout=attempt))
                         for word, number in numbers.items()]

    for name, chosen, right, says in (
        ("answered", backends, Answered(by=backends.nonces), "a Service with an endpoint answers"),
        ("empty", None, nobody(lab.declaration.conduct(Feature.NO_ENDPOINTS)), "one without is refused"),
    ):
        selector = None if chosen else {"app": "nobody"}
        served = await lab.service(ports, chosen, name=name, selector=selector, type="NodePort")
        numbers = {word: served.node_port(word.upper()) for word in PROTOCOLS}
        within = lab.timing.serves if chosen else lab.timing.refuses
        if not await lab.serves(name, aims(served.ip, numbers), right, says, within=within):
            return
