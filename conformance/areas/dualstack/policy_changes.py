"""DUALSTACK-04: a second family comes to a Service, and goes."""

from __future__ import annotations

from conformance.expectations import Answered, Unanswered
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.meanwhile import meanwhile
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


@requirement(
    "DUALSTACK-04", Level.EXT, needs={"dual-stack"}, features={Feature.DUAL_STACK},
    source="kubernetes.io/docs/concepts/services-networking/dual-stack#switching-services-between-single-"
    "stack-and-dual-stack; no suite sends packets for it",
)
async def policy_changes(lab: Lab) -> None:
    """A Service MUST gain its second family and lose it again in place, while the first goes on serving."""
    backends, attempt = await lab.backends(2), lab.timing.attempt.seconds
    served, right = await lab.service([port(80)], backends), Answered(by=backends.nonces)

    def at(ip: str, timeout: float = attempt) -> list[Aim]:
        return each(lab.clients, Probe("tcp", (ip, 80), count=50, timeout=timeout))

    if not await lab.serves("before", at(served.ip), right, "the first family answers"):
        return
    async with meanwhile(lab, "the first family", at(served.ip), right, "the first family always answers"):
        both = await lab.update(served, ipFamilyPolicy="RequireDualStack")
        lab.value("kept", {"address": both.ips[:1] == served.ips, "addresses": len(both.ips)})
        says = "it keeps its address and has a second one"
        lab.expect_value("equals", "kept", {"expected": {"address": True, "addresses": 2}}, says)
        second = both.ips[-1]
        if len(both.ips) != 2 or not await lab.serves(
            "second", at(second), right, "the second family answers",
        ):
            return
        first = {"clusterIPs": list(served.ips), "ipFamilies": list(served.families)}
        await lab.update(both, ipFamilyPolicy="SingleStack", **first)
        says = "nobody answers at the address that the Service gave up"
        await lab.serves("given up", at(second, SILENCE), Unanswered(), says, within=lab.timing.refuses)
