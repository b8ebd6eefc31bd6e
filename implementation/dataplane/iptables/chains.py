"""The rules of one Service port, in upstream's order and words (facts of upstream, §1.5 to §1.7).

A rule is the text behind ``-A CHAIN ``. Everything that enters the text has passed
:mod:`implementation.objects`: names are DNS names, addresses and networks canonical, ports numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from implementation.dataplane.iptables import names
from implementation.dataplane.iptables.names import Style
from implementation.dataplane.iptables.options import Options
from implementation.state.desired import Endpoint, ServedPort, Way

Rules = tuple[str, ...]


class Pieces(msgspec.Struct, frozen=True):
    """What one Service port adds: rules for the shared chains, and chains of its own (nat)."""

    nat_services: Rules = ()
    nat_node_ports: Rules = ()
    filter_services: Rules = ()
    filter_external: Rules = ()
    filter_node_ports: Rules = ()
    filter_firewall: Rules = ()
    own: tuple[tuple[str, Rules], ...] = ()


class Port(msgspec.Struct, frozen=True):
    """A served port together with its names and the fragments its rules share."""

    served: ServedPort
    options: Options
    text: str  # "ns/name:port", as comments and hashes have it
    speaking: bool  # False in clusters with very many endpoints: rules of endpoints carry no comment

    @property
    def match(self) -> str:
        """The protocol's match, module first as upstream writes it."""
        return f"-m {self.served.protocol} -p {self.served.protocol}"

    def chain(self, kind: str) -> str:
        """The name of this port's own chain of a kind."""
        return names.chain(kind, self.served, self.options.style)

    def endpoint_chain(self, endpoint: Endpoint) -> str:
        """The name of the chain of one of this port's endpoints."""
        return names.endpoint_chain(self.served, endpoint, self.options.style)

    def to(self, address: str) -> str:
        """The match for traffic to ``address`` at the Service's port."""
        return f"{self.match} -d {address} --dport {self.served.port}"

    def policy_chain(self, way: Way) -> str:
        """The chain that balances traffic going ``way``."""
        return self.chain(names.LOCAL if way is Way.LOCAL else names.SERVICE)

    @property
    def has_firewall(self) -> bool:
        """True when load balancer addresses are open to some sources only."""
        served = self.served
        return served.has_endpoints and bool(served.virtual_ips and served.source_ranges)

    @property
    def has_external(self) -> bool:
        """True when an EXT chain is needed, be it only for the short cuts of local traffic."""
        served = self.served
        direct = self.options.style is Style.OLD and served.external is Way.CLUSTER  # the old node port rules
        reached = served.external_ips or served.virtual_ips or (served.node_port and not direct)
        return served.has_endpoints and bool(reached)


def pieces(served: ServedPort, options: Options, *, speaking: bool) -> Pieces:
    """All rules of one Service port."""
    port = Port(served, options, names.port_name(served, options.style), speaking)
    return Pieces(
        nat_services=tuple(nat_services(port)),
        nat_node_ports=tuple(node_port_rules(port)),
        filter_services=tuple(refusals_inside(port)),
        filter_external=tuple(refusals_outside(port)),
        filter_node_ports=tuple(health_check_rules(port)),
        filter_firewall=tuple(firewall_drops(port)),
        own=tuple(own_chains(port)),
    )


def comment(text: str) -> str:
    """A comment match; quoted when it holds a blank."""
    return f'-m comment --comment "{text}"' if " " in text else f"-m comment --comment {text}"


def served_way(way: Way) -> bool:
    """True for ways that lead to an endpoint."""
    return way in (Way.CLUSTER, Way.LOCAL)


def nat_services(port: Port) -> Iterator[str]:
    """Rules that recognise the Service's addresses (nat KUBE-SERVICES)."""
    served = port.served
    if served_way(served.internal):
        if port.options.style is Style.OLD:
            yield from masquerade_foreign(port)
        said, target = comment(f"{port.text} cluster IP"), port.policy_chain(served.internal)
        yield f"{said} {port.to(served.cluster_ip)} -j {target}"
    if not served.has_endpoints:
        return
    external = port.chain(names.EXTERNAL)
    for address in served.external_ips:
        yield f"{comment(port.text + ' external IP')} {port.to(address)} -j {external}"
    target = port.chain(names.FIREWALL) if port.has_firewall else external
    for address in served.virtual_ips:
        yield f"{comment(port.text + ' loadbalancer IP')} {port.to(address)} -j {target}"


def masquerade_foreign(port: Port) -> Iterator[str]:
    """Marks traffic to the cluster address that does not come from pods, so that answers come back this way.

    It stands in the Service's own chain today, in KUBE-SERVICES in the old style.
    """
    detector = port.options.detector(port.served.family)
    start = f"{comment(port.text + ' cluster IP')} {port.to(port.served.cluster_ip)}"
    if port.options.masquerade_all:
        yield f"{start} -j KUBE-MARK-MASQ"
    elif detector is not None:
        yield f"{start} {detector.foreign} -j KUBE-MARK-MASQ"


def node_port_rules(port: Port) -> Iterator[str]:
    """Rules that recognise the Service's node port (nat KUBE-NODEPORTS)."""
    served = port.served
    if not served.node_port or not served.has_endpoints:
        return
    start = f"{comment(port.text)} {port.match} --dport {served.node_port}"
    if port.options.style is Style.OLD and served.external is Way.CLUSTER:
        yield f"{start} -j KUBE-MARK-MASQ"
        yield f"{start} -j {port.chain(names.SERVICE)}"
    else:
        yield f"{start} -j {port.chain(names.EXTERNAL)}"


def refusal(port: Port, way: Way) -> tuple[str, str]:
    """Comment and target for traffic that nobody here serves."""
    if way is Way.DROP:
        return comment(f"{port.text} has no local endpoints"), "-j DROP"
    reset = port.options.reset_tcp and port.served.protocol == "tcp"
    return comment(
        f"{port.text} has no endpoints"
    ), "-j REJECT --reject-with tcp-reset" if reset else "-j REJECT"


def refusals_inside(port: Port) -> Iterator[str]:
    """What happens to traffic to a cluster address without endpoints (filter KUBE-SERVICES)."""
    if not served_way(port.served.internal):
        said, target = refusal(port, port.served.internal)
        yield f"{said} {port.to(port.served.cluster_ip)} {target}"


def refusals_outside(port: Port) -> Iterator[str]:
    """The same for external addresses, load balancer addresses and node ports (filter
    KUBE-EXTERNAL-SERVICES)."""
    served = port.served
    if served_way(served.external):
        return
    said, target = refusal(port, served.external)
    for address in (*served.external_ips, *served.virtual_ips):
        yield f"{said} {port.to(address)} {target}"
    if served.node_port:
        yield f"{said} -m addrtype --dst-type LOCAL {port.match} --dport {served.node_port} {target}"


def health_check_rules(port: Port) -> Iterator[str]:
    """Lets health checks of the load balancer in (filter KUBE-NODEPORTS)."""
    if port.served.health_check_node_port:
        said = comment(f"{port.text} health check node port")
        yield f"{said} -m tcp -p tcp --dport {port.served.health_check_node_port} -j ACCEPT"


def firewall_drops(port: Port) -> Iterator[str]:
    """Drops what no source range let through (filter KUBE-PROXY-FIREWALL)."""
    if port.has_firewall:
        said = comment(f"{port.text} traffic not accepted by {port.chain(names.FIREWALL)}")
        for address in port.served.virtual_ips:
            yield f"{said} {port.to(address)} -j DROP"


def own_chains(port: Port) -> Iterator[tuple[str, Rules]]:
    """The Service port's own chains: EXT, FW, SVC, SVL, then one for each endpoint."""
    served = port.served
    if port.has_external:
        yield port.chain(names.EXTERNAL), tuple(external_rules(port))
    if port.has_firewall:
        yield port.chain(names.FIREWALL), tuple(firewall_rules(port))
    masquerade = tuple(masquerade_foreign(port)) if port.options.style is Style.CURRENT else ()
    for kind, way, endpoints in (
        (names.SERVICE, Way.CLUSTER, served.cluster),
        (names.LOCAL, Way.LOCAL, served.local),
    ):
        if endpoints:
            first = masquerade if served.internal is way else ()
            yield port.chain(kind), (*first, *affinity_rules(port, endpoints), *balance(port, endpoints))
    for endpoint in served.reachable:
        yield port.endpoint_chain(endpoint), tuple(endpoint_rules(port, endpoint))


def external_rules(port: Port) -> Iterator[str]:
    """What everything that arrives by an external address goes through (EXT).

    With policy Local, traffic of this node and its pods takes a short cut to the whole cluster: the policy
    is about keeping the address of clients from outside (kubernetes #99317).
    """
    served = port.served
    service, to = port.chain(names.SERVICE), f"for {port.text} external destinations"
    if not served.external_local:
        yield f"{comment(f'masquerade traffic {to}')} -j KUBE-MARK-MASQ"
    else:
        detector = port.options.detector(served.family)
        if detector is not None:
            yield f"{comment(f'pod traffic {to}')} {detector.local} -j {service}"
        here = "-m addrtype --src-type LOCAL"
        yield f"{comment(f'masquerade LOCAL traffic {to}')} {here} -j KUBE-MARK-MASQ"
        yield f"{comment(f'route LOCAL traffic {to}')} {here} -j {service}"
    if served_way(served.external):
        yield f"-j {port.policy_chain(served.external)}"


def firewall_rules(port: Port) -> Iterator[str]:
    """Lets sources of the given ranges on to EXT; the last rule only counts (FW)."""
    said, external = comment(f"{port.text} loadbalancer IP"), port.chain(names.EXTERNAL)
    for source in port.served.source_ranges:
        yield f"{said} -s {source} -j {external}"
    if port.served.node_in_ranges:  # a node reaching its own address is seen with that very address as source
        for address in port.served.virtual_ips:
            yield f"{said} -s {address} -j {external}"
    yield comment(f"other traffic to {port.text} will be dropped by KUBE-PROXY-FIREWALL")


def affinity_rules(port: Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """Sends a client seen in the last N seconds where it was sent before."""
    seconds = port.served.affinity_seconds
    if seconds:
        for endpoint in endpoints:
            chain = port.endpoint_chain(endpoint)
            said = balance_comment(port, endpoint)
            yield f"{said}-m recent --name {chain} --rcheck --seconds {seconds} --reap -j {chain}"


def balance(port: Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """Spreads new connections evenly: rule i of n is taken with probability 1/(n-i), the last one always."""
    for index, endpoint in enumerate(endpoints):
        chance = probability(index, len(endpoints))
        dice = f"-m statistic --mode random --probability {chance} " if chance else ""
        yield f"{balance_comment(port, endpoint)}{dice}-j {port.endpoint_chain(endpoint)}"


def probability(index: int, count: int) -> str:
    """The chance of rule ``index`` of ``count`` among those that got that far; empty for the last, which is
    certain."""
    return f"{1 / (count - index):.10f}" if index < count - 1 else ""


def balance_comment(port: Port, endpoint: Endpoint) -> str:
    """The comment of a rule that leads to an endpoint, with a blank behind it, or nothing."""
    if not port.speaking:
        return ""
    old = port.options.style is Style.OLD
    return comment(port.text if old else f"{port.text} -> {endpoint.target}") + " "


def endpoint_rules(port: Port, endpoint: Endpoint) -> Iterator[str]:
    """Rewrites the destination to the endpoint (SEP); an endpoint calling itself is masqueraded, else it
    would answer itself past the connection tracking."""
    said = f"{comment(port.text)} " if port.speaking else ""
    recent = (
        f"-m recent --name {port.endpoint_chain(endpoint)} --set " if port.served.affinity_seconds else ""
    )
    yield f"{said}-s {endpoint.address} -j KUBE-MARK-MASQ"
    yield f"{said}{recent}{port.match} -j DNAT --to-destination {destination(port, endpoint)}"


def destination(port: Port, endpoint: Endpoint) -> str:
    """Where a connection given to ``endpoint`` is sent."""
    del port
    return endpoint.target
