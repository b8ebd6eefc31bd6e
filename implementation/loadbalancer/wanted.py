"""What a node's announcer is to announce, from the API's objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from implementation.loadbalancer import inputs
from implementation.loadbalancer.elect import Endpoint, candidates, interfaces, order
from implementation.loadbalancer.pools import Configuration
from implementation.loadbalancer.takeover import Vip
from implementation.objects.balanced import BalancedNode, BalancedService
from implementation.objects.pools import L2Advertisement, Pool


class Wanted(msgspec.Struct, frozen=True):
    """Addresses with their candidates; ``mute`` are those not announced on this interface; ``services`` who
    uses what.
    """

    vips: Mapping[str, Vip] = {}
    mute: frozenset[str] = frozenset()
    services: Mapping[str, tuple[BalancedService, ...]] = {}


def wanted(
    services: Iterable[BalancedService], endpoints: Mapping[str, Sequence[Endpoint]],
    nodes: Sequence[BalancedNode], config: Configuration,
    *, interface: str, load_balancer_class: str | None = None,
) -> Wanted:
    """What is to be announced. Addresses outside the pools are somebody else's and are not in it.

    Services that share an address have one election with the candidates of all, or it could have two
    owners.
    """
    of_nodes = {node.address for node in nodes}
    found: dict[str, tuple[str, set[str]]] = {}
    mute: set[str] = set()
    users: dict[str, tuple[BalancedService, ...]] = {}
    for service in services:
        if service.type != "LoadBalancer" or service.load_balancer_class != load_balancer_class:
            continue
        for address in service.ingress:
            pool = config.pool_of(address)
            # IPv6 is announced by NDP, which is not built yet. To answer for a node's own address would cut
            # it off.
            if pool is None or ":" in address or address in of_nodes:
                continue
            adverts = _advertisements(service, pool, config)
            names = candidates(nodes, endpoints.get(service.key, ()), adverts,
                               external_local=service.external_local)
            found.setdefault(address, (service.ingress[0], set()))[1].update(names)
            users[address] = (*users.get(address, ()), service)
            chosen = interfaces(adverts)
            if adverts and chosen is not None and interface not in chosen:
                mute.add(address)
    vips = {address: Vip(address, key, order(names, key)) for address, (key, names) in found.items() if names}
    return Wanted(vips, frozenset(mute), users)


def _advertisements(service: BalancedService, pool: Pool, config: Configuration) -> list[L2Advertisement]:
    """Those that hold for the service; for one that shares its address none that picks services.

    Who shares an address and who is picked could differ from service to service: MetalLB refuses both
    together.
    """
    adverts = config.advertisements(pool, dict(service.labels))
    if inputs.read(service, inputs.SHARING):
        return [advert for advert in adverts if not advert.service_selectors]
    return adverts
