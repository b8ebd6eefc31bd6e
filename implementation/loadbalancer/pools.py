"""The whole configuration: pools and advertisements together, checked against each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import pairwise

import msgspec

from implementation.objects.fields import ObjectError, family
from implementation.objects.poolmap import Legacy
from implementation.objects.pools import L2Advertisement, Pool


class Configuration(msgspec.Struct, frozen=True):
    """Pools by name and the advertisements that say which of them are announced by layer 2."""

    pools: Mapping[str, Pool] = {}
    l2: tuple[L2Advertisement, ...] = ()

    def pool_of(self, address: str) -> Pool | None:
        """The pool that owns this address, or None. An address a pool avoids is not its own."""
        return next((pool for pool in self.pools.values() if owns(pool, address)), None)

    def advertisements(self, pool: Pool, service_labels: Mapping[str, str]) -> list[L2Advertisement]:
        """The layer-2 advertisements that hold for this pool and a service with these labels."""
        labels = dict(pool.labels)
        return [
            advert for advert in self.l2
            if _covers(advert, pool.name, labels)
            and (not advert.service_selectors
                 or any(selector.accepts(service_labels) for selector in advert.service_selectors))
        ]


def _covers(advert: L2Advertisement, pool: str, labels: Mapping[str, str]) -> bool:
    if not advert.pools and not advert.pool_selectors:
        return True
    return pool in advert.pools or any(selector.accepts(labels) for selector in advert.pool_selectors)


def configuration(
    pools: Iterable[Pool], l2: Iterable[L2Advertisement], legacy: Legacy | None = None,
) -> Configuration:
    """The configuration made of MetalLB's objects and, where there is one, the ConfigMap of old releases.

    Raises ObjectError when two pools share a name or an address: neither could then say whose address it
    is.
    """
    legacy = legacy or Legacy()
    found: dict[str, Pool] = {}
    for pool in (*sorted(pools, key=lambda p: p.name), *legacy.pools):
        if pool.name in found:
            raise ObjectError(f"two pools are called {pool.name}; give one of them another name")
        found[pool.name] = pool
    _check_overlap(list(found.values()))
    return Configuration(found, (*sorted(l2, key=lambda a: a.name), *legacy.l2))


def _check_overlap(pools: Sequence[Pool]) -> None:
    owned = sorted((span, pool.name) for pool in pools for span in pool.ranges)
    for (span, name), (following, other) in pairwise(owned):
        if span.overlaps(following):
            whose = f"pool {name}" if name == other else f"pools {name} and {other}"
            raise ObjectError(f"{whose}: {span} and {following} overlap; an address may be in one range only")


def owns(pool: Pool, address: str) -> bool:
    """Whether the pool may give out this address."""
    if pool.avoid_buggy and confuses(address):
        return False
    return any(address in span for span in pool.ranges)


def confuses(address: str) -> bool:
    """Whether this is an IPv4 address ending in .0 or .255, which some old firmware takes for a broadcast."""
    return family(address) == 4 and int(IPv4Address(address)) & 0xFF in (0, 0xFF)


def admits(
    pool: Pool, namespace: str, namespace_labels: Mapping[str, str], labels: Mapping[str, str],
) -> bool:
    """Whether the pool's serviceAllocation lets this service in; without one, or with an empty one, all are
    let in.

    Namespaces and service selectors must both hold where both are given; within a list any one is enough.
    """
    allotment = pool.allotment
    if allotment is None:
        return True
    if allotment.namespaces or allotment.namespace_selectors:
        inside = namespace in allotment.namespaces or any(
            selector.accepts(namespace_labels) for selector in allotment.namespace_selectors)
        if not inside:
            return False
    return not allotment.service_selectors or any(s.accepts(labels) for s in allotment.service_selectors)
