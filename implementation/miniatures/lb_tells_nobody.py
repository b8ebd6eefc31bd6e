"""Wrong: a node that takes an address over announces it to nobody."""

from implementation.loadbalancer import arp, speaker


class Quiet(arp.Bursts):
    """Nothing is ever due."""

    def take_due(self, now: float) -> list[str]:
        """The addresses to announce now: none, though they are taken off the schedule."""
        super().take_due(now)
        return []


def main(args: list[str] | None = None) -> int:
    """Run the speaker with this one decision wrong."""
    vars(arp)["Bursts"] = Quiet
    return speaker.main(args)
