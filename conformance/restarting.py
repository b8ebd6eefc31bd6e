"""The programs of what is judged, by the names that its logs have, and their restart."""

from __future__ import annotations

from typing import cast

from clusters.base import CanSignal
from conformance.kube import KubeError
from conformance.lab import Lab

_LOG = "log/"


async def proxy(lab: Lab, node: str) -> str:
    """The command on ``node`` that is the Service proxy: the one whose name says so, or the only one.

    Raises KubeError when that cannot be told.
    """
    texts = await lab.snapshot(node)
    names = sorted(name.removeprefix(_LOG) for name in texts if name.startswith(_LOG))
    likely = [name for name in names if "proxy" in name] or names
    if len(likely) != 1:
        raise KubeError(f"which of {', '.join(names) or 'no commands'} on {node} is the Service proxy?")
    return likely[0]


async def restart(lab: Lab, node: str, command: str) -> float:
    """End ``command`` on ``node`` cleanly and start it again; gives when it was ready, on CLOCK_MONOTONIC."""
    lab.evidence.fault(lab.id, f"{node}: {command} is restarted")
    ready = await cast(CanSignal, lab.rig.cluster).restart(node, command)
    lab.evidence.fault(lab.id, f"{node}: {command} is ready again", round(ready - lab.evidence.began, 6))
    return ready
