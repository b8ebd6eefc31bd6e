"""Wrong: every node answers ARP for every address."""

from implementation.loadbalancer import announcer, speaker
from implementation.loadbalancer.member import Member


class Everything(Member):
    """A speaker that takes every address for its own when it is asked who has it."""

    @property
    def claims(self) -> dict[str, int]:
        """All addresses that anybody may announce."""
        return dict.fromkeys(self._desired.vips, 1)


def main(args: list[str] | None = None) -> int:
    """Run the speaker with this one decision wrong."""
    vars(announcer)["Member"] = Everything
    return speaker.main(args)
