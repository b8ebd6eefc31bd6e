"""CLUSTERIP-30: connections that are open while others change."""

from __future__ import annotations

from conformance.churn import churned, judge
from conformance.lab import Lab
from conformance.requirements import Level, requirement


@requirement(
    "CLUSTERIP-30", Level.CORE,
    source="Cilium #5425: open connections were reset when endpoints of other Services changed",
)
async def held_connections(lab: Lab) -> None:
    """A TCP connection MUST stay open and answered for 3 s while other Services come, change and go."""
    seen = await churned(lab)
    judge(lab, seen, "held connections", seen.held, "each exchange on an open connection is answered")
