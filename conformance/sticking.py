"""Clients that must keep to one backend."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.lab import Backends, Lab
from conformance.timing import Aim, origin


async def sticks(lab: Lab, aims: Sequence[Aim], backends: Backends) -> None:
    """Each aim in turn is sent once more, and all its attempts must be answered by one and the same pod."""
    for aim in aims:
        await lab.probe(origin(aim), aim.vantage, aim.probe)
        lab.expect("single", origin(aim), {"backends": sorted(backends.nonces)}, "it is always the same pod")
