"""UDP-01: a flow to a NodePort follows its Service."""

from __future__ import annotations

from conformance.lab import Lab
from conformance.pinned import follows
from conformance.requirements import Level, requirement


@requirement(
    "UDP-01", Level.CORE, needs={"two-nodes", "outside"},
    source="e2e conntrack.go, 'should be able to preserve UDP traffic when server pod cycles for a NodePort "
    "service'",
)
async def node_port(lab: Lab) -> None:
    """A flow to a NodePort MUST reach the new backend once the old one was replaced, port unchanged."""
    await follows(lab, [lab.outside, *lab.clients], node_port=True)
