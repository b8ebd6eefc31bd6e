"""NODEPORT-08: the port of a deleted Service."""

from __future__ import annotations

from conformance.expectations import Answered, Unanswered
from conformance.lab import Lab
from conformance.objects import port, service
from conformance.probes import Probe
from conformance.ranges import free_port
from conformance.requirements import Level, requirement
from conformance.timing import Aim

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


@requirement(
    "NODEPORT-08", Level.CORE, needs={"outside"},
    source="e2e service.go, 'should release NodePorts on delete', which looks for listening sockets that "
    "proxies hold no more",
)
async def released(lab: Lab) -> None:
    """The NodePort of a deleted Service MUST be closed on every node, and serve another one at once."""
    first = await lab.backends(1, name="first")
    second = await lab.backends(1, name="second")
    number, attempt = await free_port(lab), lab.timing.attempt.seconds
    wanted = [port(80, node_port=number)]

    def aims(count: int, timeout: float) -> list[Aim]:
        probes = [Probe("tcp", (node.addresses[0], number), count=count, concurrency=count, timeout=timeout)
                  for node in lab.nodes]
        return [Aim(lab.outside, probe) for probe in probes]

    served = await lab.service(wanted, first, type="NodePort")
    if not await lab.serves("first", aims(20, attempt), Answered(by=first.nonces), "the first pod answers"):
        return
    await lab.remove(served)
    says = "nobody answers at the port of a deleted Service"
    if not await lab.serves("deleted", aims(50, SILENCE), Unanswered(), says):
        return
    made = await lab.attempt("next", service("next", lab.rig.run, wanted, second.selector, type="NodePort"))
    lab.expect_value("equals", "next", {"expected": {"code": 201}}, "the port is given again at once")
    if made.ok:
        says = "the next Service with that port answers, and nobody else"
        await lab.serves("next", aims(50, attempt), Answered(by=second.nonces), says)
