"""What an administrator chose: flags as kube-proxy's, or a KubeProxyConfiguration file. A file wins over
flags.

The values are checked here, so that every other room can trust them.
"""

from __future__ import annotations

import msgspec

from implementation.dataplane.iptables.names import Style
from implementation.dataplane.iptables.options import Detect, LocalTraffic, Options
from implementation.dataplane.iptables.tool import Variant
from implementation.dataplane.nftables.options import Options as RowOptions
from implementation.node.sysctls import Tracking

EVERYWHERE = ("0.0.0.0/0", "::/0")


class SettingsError(ValueError):
    """A flag or field cannot be used; names it, the value and what is allowed."""


class Settings(msgspec.Struct, frozen=True):
    """Everything the proxy can be told. Times in seconds, empty bind addresses are not served."""

    mode: str = "nftables"
    kubeconfig: str = ""
    node_name: str = ""
    cluster_cidrs: tuple[str, ...] = ()
    detect_local: str = "ClusterCIDR"
    bridge: str = ""
    interface_prefix: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    localhost_node_ports: bool = True
    sync_period: float = 30.0
    min_sync_period: float = 0.0
    node_port_addresses: tuple[str, ...] = ()
    bind_address: str = "0.0.0.0"
    healthz: str = "0.0.0.0:10256"
    metrics: str = "127.0.0.1:10249"
    tcp_be_liberal: bool = False
    conntrack_max_per_core: int = 32_768
    conntrack_min: int = 131_072
    tcp_established_timeout: float = 86_400.0
    tcp_close_wait_timeout: float = 3_600.0
    udp_timeout: float = 0.0
    udp_stream_timeout: float = 0.0
    style: Style = Style.CURRENT
    variant: Variant = Variant.NFT
    tcp_reject: str = "reset"
    cleanup: bool = False
    init_only: bool = False

    def options(self, pod_cidrs: tuple[str, ...] = ()) -> Options:
        """What the rules of mode iptables depend on; ``pod_cidrs`` are this node's, for mode NodeCIDR."""
        return Options(
            style=self.style,
            masquerade_bit=self.masquerade_bit,
            masquerade_all=self.masquerade_all,
            localhost_node_ports=self.localhost_node_ports,
            local_traffic=self._local_traffic(pod_cidrs),
            drop_invalid=not self.tcp_be_liberal,
            reset_tcp=self.tcp_reject == "reset",
        )

    def row_options(self, pod_cidrs: tuple[str, ...] = ()) -> RowOptions:
        """What the rules of mode nftables depend on."""
        return RowOptions(
            masquerade_bit=self.masquerade_bit,
            masquerade_all=self.masquerade_all,
            reset_tcp=self.tcp_reject == "reset",
            pods=tuple((family, match.value) for family, match in self._local_traffic(pod_cidrs)),
            every_address=any(network in EVERYWHERE for network in self.node_port_addresses),
        )

    @property
    def tracking(self) -> Tracking:
        """The limits of connection tracking."""
        return Tracking(
            self.conntrack_max_per_core,
            self.conntrack_min,
            self.tcp_established_timeout,
            self.tcp_close_wait_timeout,
            self.udp_timeout,
            self.udp_stream_timeout,
            self.tcp_be_liberal,
        )

    @property
    def node_port_networks(self) -> tuple[str, ...]:
        """Where node ports are served: as chosen, else the mode's default, which is upstream's."""
        return self.node_port_addresses or (("primary",) if self.mode == "nftables" else ())

    def _local_traffic(self, pod_cidrs: tuple[str, ...]) -> tuple[tuple[int, LocalTraffic], ...]:
        by_interface = {"BridgeInterface": self.bridge, "InterfaceNamePrefix": f"{self.interface_prefix}+"}
        if self.detect_local in by_interface:
            match = LocalTraffic(Detect.INTERFACE, by_interface[self.detect_local])
            return ((4, match), (6, match))
        networks = pod_cidrs if self.detect_local == "NodeCIDR" else self.cluster_cidrs
        first: dict[int, LocalTraffic] = {}
        for network in networks:
            first.setdefault(6 if ":" in network else 4, LocalTraffic(Detect.SOURCE, network))
        return tuple(first.items())
