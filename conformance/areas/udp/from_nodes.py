"""UDP-03: a node's own flow follows its Service."""

from __future__ import annotations

from conformance.lab import Lab
from conformance.pinned import follows
from conformance.requirements import Level, requirement


@requirement(
    "UDP-03", Level.CORE,
    source="e2e conntrack.go, 'should be able to preserve UDP traffic when server pod cycles for a ClusterIP "
    "service and client is hostNetwork'",
)
async def from_nodes(lab: Lab) -> None:
    """The flow of a process on a node MUST reach the new backend once the old one was replaced."""
    await follows(lab, [agent.vantage for agent in await lab.rig.node_agents()])
