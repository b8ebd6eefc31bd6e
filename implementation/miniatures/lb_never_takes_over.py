"""Wrong: a silent node is never given up, so nobody takes over its addresses."""

from functools import partial

from implementation.loadbalancer import speaker
from implementation.loadbalancer.membership import Pace

FOREVER = 1_000_000_000  # intervals


def main(args: list[str] | None = None) -> int:
    """Run the speaker with this one decision wrong."""
    vars(speaker)["Pace"] = partial(Pace, silent=FOREVER)
    return speaker.main(args)
