"""The closed list of what a Service implementation may or may not do, and the declaration that it makes.

From the catalogue's extended rows and from the points where the authorities disagree: there the
implementation declares, and is then held to what it declared. Nothing else can be declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum


class Feature(StrEnum):
    """What can be declared; the value is the word used in descriptors and on the command line."""

    # Those that are either there or not; the first two are there unless it is said that they are not.
    CLIENT_ADDRESS = "client-address"
    SEAMLESS_RESTART = "seamless-restart"
    SIDECAR_PORTS = "sidecar-ports"
    FRAGMENTED_UDP = "fragmented-udp"
    SERVICE_CIDRS = "service-cidrs"
    CLOSED_VIP_PORTS = "closed-vip-ports"
    LONG_IDLE_TCP = "long-idle-tcp"
    MANUAL_ENDPOINTS_AFTER_SELECTOR = "manual-endpoints-after-selector"
    LARGE_DNS = "large-dns"
    TIGHT_BALANCE = "tight-balance"
    MAGLEV = "maglev"
    AFFINITY_TIMER_RESTARTS = "affinity-timer-restarts"
    AFFINITY_SURVIVES_RESTART = "affinity-survives-restart"
    AFFINITY_BY_CLIENT_BEFORE_SNAT = "affinity-by-client-before-snat"
    NEW_NODE_ADDRESSES = "new-node-addresses"
    HOST_PORT = "host-port"
    DSR = "dsr"
    LOAD_BALANCER = "load-balancer"
    LOAD_BALANCER_L2 = "load-balancer-l2"
    LOAD_BALANCER_BGP = "load-balancer-bgp"
    SOURCE_RANGES = "source-ranges"
    IP_MODE = "ip-mode"
    EXTERNAL_IPS = "external-ips"
    SCTP = "sctp"
    DUAL_STACK = "dual-stack"
    TOPOLOGY_HINTS = "topology-hints"
    SAME_ZONE = "same-zone"
    SAME_NODE = "same-node"
    HAIRPIN_IPV6 = "hairpin-ipv6"
    LARGE_SCALE = "large-scale"
    # Those of which there are several conducts.
    NO_ENDPOINTS = "no-endpoints"
    ETP_LOCAL_EMPTY = "etp-local-empty"
    ITP_LOCAL_EMPTY = "itp-local-empty"
    POD_TO_REMOTE_NODE_PORT_LOCAL = "pod-to-remote-node-port-local"
    POD_TO_LOAD_BALANCER_LOCAL = "pod-to-load-balancer-local"
    EXTERNAL_IP_INSIDE = "external-ip-inside"
    LOCALHOST_NODE_PORT = "localhost-node-port"
    NODE_PORT_ADDRESSES = "node-port-addresses"
    OTHER_PORT_ON_VIP = "other-port-on-vip"
    CLUSTER_IP_OUTSIDE = "cluster-ip-outside"
    SOURCE_RANGES_INSIDE = "source-ranges-inside"
    ESTABLISHED_AT_REMOVAL = "established-at-removal"
    LOAD_BALANCER_PING = "load-balancer-ping"
    AFFINITY_SCOPE = "affinity-scope"
    IPTABLES_CHAINS = "iptables-chains"
    POOL_CONFIG = "pool-config"
    FAILOVER_SECONDS = "failover-seconds"
    FOREIGN_ADDRESS = "foreign-address"


@dataclass(frozen=True)
class About:
    """What a feature means."""

    sentence: str
    since: str = "1.0"  # Kubernetes release that defined it
    values: tuple[str, ...] = ()  # empty: true or false; else the conducts to choose from
    presumed: bool = False  # what holds where nothing is declared


_A = About
ABOUT: Mapping[Feature, About] = {
    Feature.CLIENT_ADDRESS: _A(
        "Backends see the client's own address where Kubernetes promises it; not behind a proxy of sockets.",
        presumed=True),
    Feature.SEAMLESS_RESTART: _A(
        "Connections live on while the proxy restarts; not where they end in the proxy itself.",
        presumed=True),
    Feature.SIDECAR_PORTS: _A("A named port of a restartable init container can be a targetPort.", "1.33"),
    Feature.FRAGMENTED_UDP: _A("UDP datagrams larger than the MTU pass through a Service both ways."),
    Feature.SERVICE_CIDRS: _A("Services of an added ServiceCIDR object are served.", "1.33"),
    Feature.CLOSED_VIP_PORTS: _A("A port that is not in the spec never reaches a listener of the node."),
    Feature.LONG_IDLE_TCP: _A("A TCP connection idle for more than five minutes still carries data."),
    Feature.MANUAL_ENDPOINTS_AFTER_SELECTOR: _A("Hand-made slices take effect once the selector is gone."),
    Feature.LARGE_DNS: _A("Headless answers of more than 100 endpoints are complete over TCP."),
    Feature.TIGHT_BALANCE: _A("Equal backends get equal shares within 5 points, from every place."),
    Feature.MAGLEV: _A("The same 5-tuple reaches the same backend through any node."),
    Feature.AFFINITY_TIMER_RESTARTS: _A("Each new connection restarts the idle timer of the affinity."),
    Feature.AFFINITY_SURVIVES_RESTART: _A("Clients stick to their backend across a restart of the proxy."),
    Feature.AFFINITY_BY_CLIENT_BEFORE_SNAT: _A("Stickiness is keyed on the client's own address."),
    Feature.NEW_NODE_ADDRESSES: _A("An address added to a node serves NodePorts without a restart."),
    Feature.HOST_PORT: _A("hostPort is served, also with the same port on another hostIP or protocol."),
    Feature.DSR: _A("Replies to NodePort clients go directly from the backend's node."),
    Feature.LOAD_BALANCER: _A("Services of type LoadBalancer get an address that is served."),
    Feature.LOAD_BALANCER_L2: _A("The address is announced by ARP and NDP, with failover."),
    Feature.LOAD_BALANCER_BGP: _A("The address is announced by BGP."),
    Feature.SOURCE_RANGES: _A("loadBalancerSourceRanges is enforced.", "1.4"),
    Feature.IP_MODE: _A("ingress ipMode Proxy is honoured.", "1.29"),
    Feature.EXTERNAL_IPS: _A("spec.externalIPs are served."),
    Feature.SCTP: _A("SCTP Services are served.", "1.20"),
    Feature.DUAL_STACK: _A("Services of both address families are served.", "1.23"),
    Feature.TOPOLOGY_HINTS: _A("Zone hints of EndpointSlices are followed.", "1.24"),
    Feature.SAME_ZONE: _A("trafficDistribution PreferSameZone (PreferClose) is followed.", "1.33"),
    Feature.SAME_NODE: _A("trafficDistribution PreferSameNode is followed.", "1.35"),
    Feature.HAIRPIN_IPV6: _A("A pod reaches itself through its own Service over IPv6."),
    Feature.LARGE_SCALE: _A("Thousands of Services and endpoints are served without losing one."),
    Feature.NO_ENDPOINTS: _A(
        "What a Service without endpoints does to a connection.", values=("reject", "drop")),
    Feature.ETP_LOCAL_EMPTY: _A(
        "externalTrafficPolicy Local on a node without an endpoint.", "1.7", ("drop", "reject")),
    Feature.ITP_LOCAL_EMPTY: _A(
        "internalTrafficPolicy Local on a node without an endpoint.", "1.26", ("drop", "reject")),
    Feature.POD_TO_REMOTE_NODE_PORT_LOCAL: _A(
        "A pod calls the NodePort of a Local Service on a node without an endpoint.", "1.7",
        ("deliver", "drop")),
    Feature.POD_TO_LOAD_BALANCER_LOCAL: _A(
        "A pod calls the LoadBalancer address of a Local Service from a node without an endpoint.", "1.7",
        ("deliver", "drop")),
    Feature.EXTERNAL_IP_INSIDE: _A("externalIPs called from inside the cluster.", values=("deliver", "drop")),
    Feature.LOCALHOST_NODE_PORT: _A(
        "NodePorts on the node's own loopback address.", values=("ipv4", "both", "none")),
    Feature.NODE_PORT_ADDRESSES: _A(
        "The node addresses on which NodePorts answer.", values=("all", "primary", "listed")),
    Feature.OTHER_PORT_ON_VIP: _A(
        "A port that no Service has, on a served address.", values=("reject", "drop", "host", "routed")),
    Feature.CLUSTER_IP_OUTSIDE: _A(
        "ClusterIPs called from outside through a route to a node.", values=("served", "not-served")),
    Feature.SOURCE_RANGES_INSIDE: _A(
        "loadBalancerSourceRanges and clients inside the cluster.", "1.25", ("filtered", "not-filtered")),
    Feature.ESTABLISHED_AT_REMOVAL: _A(
        "Established TCP connections when their backend is removed.", values=("survive", "cut")),
    Feature.LOAD_BALANCER_PING: _A(
        "ICMP echo to a LoadBalancer address.", values=("answers", "silent")),
    Feature.AFFINITY_SCOPE: _A(
        "ClientIP affinity holds for each port apart, or for the whole Service.", values=("port", "service")),
    Feature.IPTABLES_CHAINS: _A(
        "Style of kube-proxy's iptables chains on the nodes; none where there are no such chains.",
        values=("current", "1.18", "none")),
    Feature.POOL_CONFIG: _A(
        "How the load balancer learns its addresses: from the seed's ConfigMap, or they are given already.",
        values=("metallb-configmap", "given")),
    Feature.FAILOVER_SECONDS: _A(
        "The longest outage of a load balancer address when its node dies.", values=("0.6", "1", "3", "10")),
    Feature.FOREIGN_ADDRESS: _A(
        "A Service of type LoadBalancer whose status has an address from elsewhere: MetalLB takes it over.",
        values=("kept", "taken-over")),
}


class DeclarationError(Exception):
    """A declaration says something outside the vocabulary: which word, what is allowed, what to do next."""


@dataclass(frozen=True)
class Declaration:
    """What an implementation says of itself. What is not declared is not claimed, but for what is
    presumed."""

    values: Mapping[Feature, bool | str] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, declared: Mapping[str, object], *, where: str = "features") -> Declaration:
        """Read a descriptor's table; ``where`` names it in errors. Raises DeclarationError."""
        found: dict[Feature, bool | str] = {}
        for word, value in declared.items():
            feature = _feature(word, where)
            found[feature] = _value(feature, value, where)
        return cls(found)

    def supports(self, feature: Feature) -> bool:
        """True when declared, as true or any conduct but ``none``, or presumed and not denied."""
        return self.values.get(feature, ABOUT[feature].presumed) not in (False, "none")

    def conduct(self, feature: Feature) -> str:
        """The declared conduct of a feature with several; empty when it is not declared."""
        value = self.values.get(feature, "")
        return value if isinstance(value, str) else ""

    def lacking(self, wanted: frozenset[Feature]) -> list[Feature]:
        """Those of ``wanted`` that are not supported, in name order."""
        return sorted(feature for feature in wanted if not self.supports(feature))

    def to_json(self) -> dict[str, bool | str]:
        """The declaration as the header of the evidence holds it."""
        return {feature.value: self.values[feature] for feature in sorted(self.values)}


def _feature(word: str, where: str) -> Feature:
    try:
        return Feature(word)
    except ValueError:
        near = get_close_matches(str(word), [feature.value for feature in Feature], n=1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(Feature)}"
        raise DeclarationError(f"{where}: there is no feature {word!r}; {meant}") from None


def _value(feature: Feature, value: object, where: str) -> bool | str:
    allowed = ABOUT[feature].values
    if not allowed and isinstance(value, bool):
        return value
    if isinstance(value, str) and value in allowed:
        return value
    wanted = " or ".join(f'"{one}"' for one in allowed) or "true or false"
    raise DeclarationError(f"{where}: {feature.value} is {wanted}, not {value!r}")
