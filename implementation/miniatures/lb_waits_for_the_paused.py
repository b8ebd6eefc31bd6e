"""Wrong: a speaker that is silent on a node whose kernel answers is never given up."""

from functools import partial

from implementation.loadbalancer import speaker
from implementation.loadbalancer.membership import Pace

FOREVER = 1_000_000_000  # intervals


def main(args: list[str] | None = None) -> int:
    """Run the speaker with this one decision wrong."""
    vars(speaker)["Pace"] = partial(Pace, process=FOREVER)
    return speaker.main(args)
