"""UDP-02: a flow to a ClusterIP follows its Service."""

from __future__ import annotations

from conformance.lab import Lab
from conformance.pinned import follows
from conformance.requirements import Level, requirement


@requirement(
    "UDP-02", Level.CORE,
    source="e2e conntrack.go, 'should be able to preserve UDP traffic when server pod cycles for a ClusterIP "
    "service'",
)
async def cluster_ip(lab: Lab) -> None:
    """A pod's flow to a ClusterIP MUST reach the new backend once the old one was replaced."""
    await follows(lab, lab.clients)
