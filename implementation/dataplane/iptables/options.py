"""What an administrator can choose about the rules."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from implementation.dataplane.iptables.names import Style


class Detect(StrEnum):
    """How a rule knows that traffic comes from this cluster's (or node's) own pods."""

    SOURCE = "-s"  # by source network: modes ClusterCIDR and NodeCIDR
    INTERFACE = "-i"  # by interface: modes BridgeInterface and InterfaceNamePrefix ("name+")


class LocalTraffic(msgspec.Struct, frozen=True):
    """The match for traffic of local pods in one family."""

    by: Detect
    value: str

    @property
    def local(self) -> str:
        """The match for local traffic."""
        return f"{self.by} {self.value}"

    @property
    def foreign(self) -> str:
        """The match for all other traffic."""
        return f"! {self.by} {self.value}"


class Options(msgspec.Struct, frozen=True):
    """Everything the text of a rule depends on beside the Services themselves."""

    style: Style = Style.CURRENT
    masquerade_bit: int = 14
    masquerade_all: bool = False
    localhost_node_ports: bool = True
    local_traffic: tuple[tuple[int, LocalTraffic], ...] = ()  # by family
    drop_invalid: bool = True  # off when nf_conntrack_tcp_be_liberal is on
    reset_tcp: bool = True  # refuse TCP by a reset, not by ICMP (see README, "Refusing")

    @property
    def mark(self) -> str:
        """The mark of packets to be masqueraded, as upstream prints it."""
        return f"{1 << self.masquerade_bit:#010x}"

    def detector(self, family: int) -> LocalTraffic | None:
        """The match for local pods in this family, where one is configured."""
        return dict(self.local_traffic).get(family)
