"""LB-L2-05: a node that shall announce no more."""

from __future__ import annotations

from conformance.arp import announcements, answerers
from conformance.balanced import balanced, exclude
from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.measuring import Measured, around, expect_gap, record, sole_announcer, udp
from conformance.requirements import Level, requirement
from conformance.timing import Aim

BOUND = 1.0  # seconds without service in a move that nothing forces
SERIES = "datagrams at the address"


def told_by_the_new(lab: Lab, moved: Measured, address: str, old: str) -> None:
    """Expect another MAC to answer at the end, and to have told everybody at least once."""
    frames = moved.witnessed.frames if moved.witnessed else ()
    last = {mac: times[-1] for mac, times in answerers(frames, address).items()}
    new = max(last, key=lambda mac: last[mac], default="")
    told = announcements(frames, address, new)
    lab.value("take-over", {"moved": new not in ("", old), "announced": bool(told)})
    lab.step(f"{new or 'nobody'} answers for {address} now, {old} did; it announced itself {len(told)} times")
    right = {"moved": True, "announced": True}
    lab.expect_value("includes", "take-over", {"expected": right}, "a new node answers and has announced it")


@requirement(
    "LB-L2-05", Level.EXT, needs={"two-nodes", "outside", "witness"}, disruptive=True,
    features={Feature.LOAD_BALANCER_L2},
    source="kubernetes.io/docs/reference/labels-annotations-taints: exclude-from-external-load-balancers; "
    "MetalLB e2e counts gratuitous_sent >= 1; MetalLB #291, #662, #681, #736, #584",
)
async def planned_move(lab: Lab) -> None:
    """A planned move MUST cost less than 1 s, and the new node announce itself by gratuitous ARP."""
    backends = await lab.backends(len(lab.nodes))
    served, address = await balanced(lab, backends, protocol="UDP")
    if not address:
        return
    aim, accepted = Aim(lab.outside, udp((address, served.port))), Answered(by=backends.nonces)
    if not await lab.serves("before", [aim.sending(20)], accepted, "a pod answers at the address"):
        return
    node, old = await sole_announcer(lab, address)
    if not node:
        lab.evidence.unknown(lab.id, f"not exactly one node answers for {address}, so none can be moved away")
        return
    try:
        moved = await around(lab, {SERIES: aim}, lambda: exclude(lab, node, True), after=1.5, about=address)
    finally:
        await exclude(lab, node, False)
    record(lab, moved, f"{node} shall announce no more")
    expect_gap(lab, moved, SERIES, BOUND, "the move costs less than a second", accepted)
    told_by_the_new(lab, moved, address, old)
