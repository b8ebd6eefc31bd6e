"""Wrong: with externalTrafficPolicy Local a node without an endpoint may announce the address."""

from typing import Any

from implementation.loadbalancer import speaker, wanted
from implementation.loadbalancer.elect import candidates


def anywhere(*args: Any, external_local: bool) -> list[str]:
    """The candidates as if the policy were Cluster."""
    del external_local
    return candidates(*args, external_local=False)


def main(args: list[str] | None = None) -> int:
    """Run the speaker with this one decision wrong."""
    vars(wanted)["candidates"] = anywhere
    return speaker.main(args)
