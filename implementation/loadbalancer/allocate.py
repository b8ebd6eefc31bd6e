"""Which address a Service gets: MetalLB's allocation, lowest address first. Pure; state is rebuilt from the
API.

Two services may hold one address only when both carry the same sharing key, have the same backend key and
use different ports. The backend key is empty with externalTrafficPolicy Cluster and the selector with
Local.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

import msgspec

from implementation.loadbalancer.pools import Configuration, admits, confuses, owns
from implementation.objects.fields import family
from implementation.objects.pools import AddressRange, Pool


class AllocationError(Exception):
    """No address can be given; the text is the end of the AllocationFailed event, in MetalLB's words."""


class Request(msgspec.Struct, frozen=True):
    """What the allocator needs to know of a service. ``families`` are those it needs, of 4 and 6."""

    key: str
    families: tuple[int, ...]
    namespace: str = ""
    namespace_labels: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    ports: tuple[tuple[str, int], ...] = ()
    sharing: str = ""
    backend: str = ""
    dual_preferred: bool = False  # PreferDualStack: one family is better than none


class _Use(msgspec.Struct, frozen=True):
    """What a service holds."""

    pool: str
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, int], ...]
    sharing: str
    backend: str


class Allocator:
    """Who holds which address. Never gives one address to two services that may not share it."""

    def __init__(self) -> None:
        self._config = Configuration()
        self._held: dict[str, _Use] = {}
        self._users: dict[str, dict[str, _Use]] = {}  # address -> service -> what it holds there
        self._floor: dict[tuple[str, AddressRange], int] = {}  # below it every address of the range is taken

    def set_configuration(self, config: Configuration) -> None:
        """Use these pools from now on. Addresses already given stay until their service is looked at again.
        """
        self._config = config
        self._floor.clear()

    def owns(self, address: str) -> bool:
        """Whether the address lies in one of the pools."""
        return self._config.pool_of(address) is not None

    def held(self, key: str) -> tuple[str, ...]:
        """The addresses the service holds, or none."""
        return self._held[key].addresses if key in self._held else ()

    def pool(self, key: str) -> str:
        """The pool the service's addresses come from, or the empty string."""
        return self._held[key].pool if key in self._held else ""

    def in_use(self) -> Mapping[str, int]:
        """Number of addresses in use for each pool."""
        counted: dict[str, set[str]] = {name: set() for name in self._config.pools}
        for use in self._held.values():
            counted.setdefault(use.pool, set()).update(use.addresses)
        return {name: len(addresses) for name, addresses in counted.items()}

    def release(self, key: str) -> bool:
        """Take back what the service holds; whether it held something."""
        use = self._held.pop(key, None)
        if use is None:
            return False
        for address in use.addresses:
            users = self._users[address]
            del users[key]
            if not users:
                del self._users[address]
        self._floor.clear()
        return True

    def assign(self, request: Request, addresses: Sequence[str]) -> None:
        """Give the service exactly these addresses; AllocationError, and no change, where that is not
        allowed.
        """
        pool = self._pool_for(request, addresses)
        for address in addresses:
            self._check(request, address)
        self._take(request, pool, tuple(addresses))

    def allocate(self, request: Request) -> tuple[str, ...]:
        """The lowest free addresses: first of pools kept for such services, then of the pools open to all."""
        auto = [pool for pool in self._config.pools.values() if pool.auto_assign]
        kept = [pool for pool in auto if pool.allotment is not None and _admitted(pool, request)]
        kept.sort(key=_rank)
        for pool in (*kept, *(pool for pool in auto if pool.allotment is None)):
            found = self._search(request, pool)
            if found:
                self._take(request, pool.name, found)
                return found
        raise AllocationError("no available IPs")

    def allocate_from(self, request: Request, name: str) -> tuple[str, ...]:
        """The lowest free addresses of the pool of this name, whether it assigns automatically or not."""
        pool = self._config.pools.get(name)
        if pool is None:
            raise AllocationError(f'unknown pool "{name}"')
        if not _admitted(pool, request):
            raise AllocationError(f"pool {name} not compatible for ip assignment")
        found = self._search(request, pool)
        if not found:
            raise AllocationError(f'no available IPs in pool "{name}"')
        self._take(request, name, found)
        return found

    def add_family(self, request: Request) -> tuple[str, ...] | None:
        """Add the family that a service of two families still lacks, from its own pool; None where it
        cannot be.
        """
        use = self._held[request.key]
        missing = [f for f in (4, 6) if f in request.families and f not in map(family, use.addresses)]
        pool = self._config.pools.get(use.pool)
        if len(missing) != 1 or pool is None:
            return None
        added = self._lowest(request, pool, missing[0])
        if added is None:
            return None
        both = (*use.addresses, added)
        self._take(request, pool.name, both)
        return both

    def _pool_for(self, request: Request, addresses: Sequence[str]) -> str:
        spelled = "[" + " ".join(f'"{a}"' for a in addresses) + "]"
        if len({family(a) for a in addresses}) != len(addresses):
            raise AllocationError(f"{spelled} must be one address of each family at most")
        owner = next((p for p in self._config.pools.values() if all(owns(p, a) for a in addresses)), None)
        if owner is None:
            raise AllocationError(f"{spelled} is not allowed in config")
        if not _admitted(owner, request):
            raise AllocationError(f"pool {owner.name} not compatible for ip assignment")
        return owner.name

    def _check(self, request: Request, address: str) -> None:
        """AllocationError where another user of the address rules this one out."""
        others = {key: use for key, use in self._users.get(address, {}).items() if key != request.key}
        for use in others.values():
            reason = _no_sharing(use, request)
            if reason:
                raise AllocationError(
                    f'can\'t change sharing key for "{request.key}", address also in use by '
                    f"{','.join(sorted(others))}")
            for port in request.ports:
                if port in use.ports:
                    raise AllocationError(f'port {port[0]}/{port[1]} is already in use on "{address}"')

    def _fits(self, request: Request, address: str) -> bool:
        users = self._users.get(address)
        if users is None:
            return True
        return all(
            key == request.key or not (_no_sharing(use, request) or set(request.ports) & set(use.ports))
            for key, use in users.items()
        )

    def _search(self, request: Request, pool: Pool) -> tuple[str, ...]:
        """One address of each family needed, IPv4 first; empty where the pool cannot give them."""
        found: dict[int, str | None] = {
            f: self._lowest(request, pool, f) for f in (4, 6) if f in request.families
        }
        complete = tuple(address for address in found.values() if address is not None)
        if len(complete) == len(request.families):
            return complete
        if request.dual_preferred and complete:
            first = found.get(request.families[0])
            return (first,) if first is not None else complete[:1]
        return ()

    def _lowest(self, request: Request, pool: Pool, wanted: int) -> str | None:
        for span in pool.ranges:
            if span.family != wanted:
                continue
            for number in self._candidates(request, pool, span):
                address = span.text(number)
                if not (pool.avoid_buggy and confuses(address)) and self._fits(request, address):
                    return address
        return None

    def _candidates(self, request: Request, pool: Pool, span: AddressRange) -> Iterator[int]:
        """Numbers of the range, ascending; for a service that shares nothing the full lower part is
        skipped.
        """
        if request.sharing:
            yield from range(span.first, span.last + 1)
            return
        place = (pool.name, span)
        number = self._floor.get(place, span.first)
        while number <= span.last and span.text(number) in self._users:
            number += 1
        self._floor[place] = number
        # The service's own address may lie below the floor: it fits itself.
        own = [mine for mine in map(_number, self.held(request.key)) if span.first <= mine < number]
        yield from own
        yield from range(number, span.last + 1)

    def _take(self, request: Request, pool: str, addresses: tuple[str, ...]) -> None:
        if self.held(request.key) != addresses:
            self.release(request.key)
        use = _Use(pool, addresses, request.ports, request.sharing, request.backend)
        self._held[request.key] = use
        for address in addresses:
            self._users.setdefault(address, {})[request.key] = use


def _number(address: str) -> int:
    return int(ip_address(address))


def _admitted(pool: Pool, request: Request) -> bool:
    return admits(pool, request.namespace, request.namespace_labels, request.labels)


def _rank(pool: Pool) -> tuple[bool, int, str]:
    """Lower priority wins; 0 means none is given and comes last; the name decides between equals."""
    priority = pool.allotment.priority if pool.allotment else 0
    return (priority <= 0, priority, pool.name)


def _no_sharing(use: _Use, request: Request) -> str:
    """Why the two may not share, or the empty string."""
    if not use.sharing:
        return "existing service does not allow sharing"
    if not request.sharing:
        return "new service does not allow sharing"
    if use.sharing != request.sharing:
        return "sharing key differs"
    return "backend key differs" if use.backend != request.backend else ""
