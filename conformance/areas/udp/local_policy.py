"""UDP-04: a flow under internalTrafficPolicy Local follows its Service."""

from __future__ import annotations

from conformance.lab import Lab
from conformance.pinned import follows
from conformance.requirements import Level, requirement


@requirement(
    "UDP-04", Level.CORE,
    source="e2e conntrack.go, '… for a ClusterIP service with InternalTrafficPolicy set to Local'; "
    "kubernetes #126934",
)
async def local_policy(lab: Lab) -> None:
    """With internalTrafficPolicy Local a flow MUST reach the new local backend after the old one."""
    await follows(lab, lab.clients[:1], same_node=True, internalTrafficPolicy="Local")
