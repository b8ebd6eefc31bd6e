"""What an administrator can choose about the rules of this mode."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True):
    """Everything the rules depend on beside the Services themselves."""

    masquerade_bit: int = 14
    masquerade_all: bool = False
    reset_tcp: bool = True  # refuse TCP by a reset, not by ICMP
    pods: tuple[tuple[int, str], ...] = ()  # by family, how traffic of pods is known: a network or interface
    every_address: bool = False  # node ports on all addresses of the node but loopback

    @property
    def mark(self) -> int:
        """The mark of packets to be masqueraded."""
        return 1 << self.masquerade_bit

    def pods_of(self, family: int) -> str:
        """A network, an interface, or the start of its name with ``+``; empty where nothing is configured."""
        return dict(self.pods).get(family, "")
