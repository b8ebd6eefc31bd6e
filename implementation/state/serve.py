"""One Service and its slices → what this node must serve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from implementation.objects import EndpointSlice, Service, ServicePort
from implementation.objects.fields import family as family_of
from implementation.state import merge, policy, topology, usable
from implementation.state.desired import Endpoint, HealthCheck, ServedPort, ServedService, ThisNode


def serve(service: Service, slices: Iterable[EndpointSlice], node: ThisNode) -> ServedService:
    """Every port of ``service`` in every family it has an address of, and its health check."""
    parts = list(slices)
    ports: list[ServedPort] = []
    for cluster_ip in one_per_family(service.cluster_ips):
        family = family_of(cluster_ip)
        endpoints = merge.merge(parts, family, node.name)
        for port in service.ports:
            pool = endpoints.get((port.name, port.protocol), ())
            ports.append(serve_port(service, port, cluster_ip, pool, node))
    return ServedService(tuple(ports), health_check(service, parts, node))


def one_per_family(addresses: Iterable[str]) -> tuple[str, ...]:
    """The first address of each family (a Service has at most one of each; more would be served twice)."""
    first: dict[int, str] = {}
    for address in addresses:
        first.setdefault(family_of(address), address)
    return tuple(first.values())


def serve_port(
    service: Service,
    port: ServicePort,
    cluster_ip: str,
    endpoints: Sequence[Endpoint],
    node: ThisNode,
) -> ServedPort:
    """One port of a Service in the family of ``cluster_ip``, with every decision taken."""
    family = family_of(cluster_ip)
    external_ips, virtual_ips, ranges = (
        tuple(value for value in values if family_of(value) == family)
        for values in (service.external_ips, service.virtual_ips, service.source_ranges)
    )
    accessible = bool(port.node_port or external_ips or virtual_ips)
    uses_cluster = accessible or not service.internal_local
    uses_local = service.internal_local or (service.external_local and accessible)
    nearby = topology.nearby(usable.ready(endpoints), node) if uses_cluster else None
    cluster = pool(endpoints, nearby) if uses_cluster else ()
    local = usable.usable([e for e in endpoints if e.local]) if uses_local else ()
    has_any = bool(usable.usable(endpoints))
    return ServedPort(
        namespace=service.namespace,
        name=service.name,
        port_name=port.name,
        protocol=port.protocol.lower(),
        family=family,
        cluster_ip=cluster_ip,
        port=port.port,
        node_port=port.node_port,
        external_ips=external_ips,
        virtual_ips=virtual_ips,
        source_ranges=ranges,
        node_in_ranges=holds_any(ranges, node.addresses),
        affinity_seconds=service.affinity_seconds,
        external_local=service.external_local,
        health_check_node_port=service.health_check_node_port,
        internal=policy.internal_way(service.internal_local, has_any, local),
        external=policy.external_way(service.external_local, has_any, local),
        has_endpoints=has_any,
        cluster=cluster,
        local=local,
        reachable=union(cluster, local),
        serving=tuple(e.target for e in endpoints if e.ready or e.serving),
    )


def pool(endpoints: Sequence[Endpoint], nearby: tuple[Endpoint, ...] | None) -> tuple[Endpoint, ...]:
    """The endpoints of policy Cluster: those near by where hints apply, else all that are usable."""
    return usable.usable(endpoints) if nearby is None else nearby


def union(cluster: Sequence[Endpoint], local: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Endpoints of both pools once each, in order of their text."""
    every = {e.target: e for e in (*cluster, *local)}
    return tuple(every[target] for target in sorted(every))


def holds_any(ranges: Sequence[str], addresses: Iterable[str]) -> bool:
    """True when one of the ranges holds one of the addresses."""
    if not ranges:
        return False
    known = [ip_address(address) for address in addresses]
    return any(address in ip_network(text) for text in ranges for address in known)


def health_check(service: Service, slices: Sequence[EndpointSlice], node: ThisNode) -> HealthCheck | None:
    """What the Service's healthCheckNodePort answers: distinct addresses of ready endpoints on this node."""
    if not service.health_check_node_port or not service.cluster_ips:
        return None
    local = {
        endpoint.address
        for part in slices
        if part.ports
        for endpoint in part.endpoints
        if endpoint.ready and endpoint.node == node.name
    }
    return HealthCheck(service.namespace, service.name, service.health_check_node_port, len(local))
