"""LB-L2-01: one node has the address, and only one says so."""

from __future__ import annotations

from conformance.arp import answerers
from conformance.balanced import balanced
from conformance.features import Feature
from conformance.lab import Lab
from conformance.measuring import witness
from conformance.requirements import Level, requirement

SECONDS = 2.0


@requirement(
    "LB-L2-01", Level.EXT, needs={"two-nodes", "witness"}, features={Feature.LOAD_BALANCER_L2},
    source="MetalLB, concepts/layer2: one node announces the address; #740, #589, #195, #2838 and kube-vip "
    "#1479 are split brains that one `arping -c 1` cannot see",
)
async def one_answers(lab: Lab) -> None:
    """Exactly one MAC MUST answer who asks for the address by broadcast ARP, over 40 questions in 2 s."""
    _, address = await balanced(lab, await lab.backends(1))
    if not address:
        return
    await witness(lab, address, 0.3)
    heard = await witness(lab, address, SECONDS)
    answered = answerers(heard.frames, address)
    told = ", ".join(f"{mac} answered {len(times)} times" for mac, times in answered.items())
    lab.step(f"{heard.own} asked {len(heard.asked)} times who has {address}: {told or 'nobody answered'}")
    lab.value("MACs that answer", len(answered))
    lab.expect_value("equals", "MACs that answer", {"expected": 1}, "one MAC answers, and always the same")
