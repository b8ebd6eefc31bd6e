"""UDP-10: one Service changes, the flows of another do not."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.objects import port
from conformance.pinned import flow, fresh, moved, note, two, unmoved
from conformance.requirements import Level, requirement

FLOWS = 8  # from each client; with two backends even two clients' flows all stay by chance with 1.5e-5 a look


@requirement(
    "UDP-10", Level.CORE,
    source="kubernetes #125467, #126130: ending the flows of one Service hit those of others; no suite looks",
)
async def unrelated(lab: Lab) -> None:
    """Flows to a Service MUST keep their pod while the endpoints of another UDP Service change."""
    ports = [port(80, protocol="UDP")]
    kept, (first, second) = await lab.backends(2, name="kept"), await two(lab)
    stays = await lab.service(ports, kept, name="stays")
    changes = await lab.service(ports, first, name="changes")
    flows = [flow(lab, client, (stays.ip, 80), at)
             for client in lab.clients for at in range(FLOWS)]
    others = fresh([flow(lab, client, (stays.ip, 80)) for client in lab.clients])
    if not await lab.serves("before", others, Answered(by=kept.nonces), "a pod answers, from every node"):
        return
    await note(lab, flows)
    for backends in (second, first):
        await moved(lab, changes, backends)
        seen = fresh([flow(lab, one, (changes.ip, 80)) for one in lab.clients])
        right = Answered(by=backends.nonces)
        if not await lab.serves(f"now {min(right.by or ())}", seen, right, "the other Service has changed"):
            return
        await note(lab, flows)
    unmoved(lab, flows, kept, "the flow goes to the same pod, whatever becomes of the other Service")
