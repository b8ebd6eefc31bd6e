"""What must become of one Service: its addresses, its annotation, the events. Pure.

Whose status is it? An address was put there by somebody else, and is left alone together with everything
else of the service, when *all* of these hold: no address of the status lies in one of our pools, the
service lacks our annotation ``metallb.io/ip-allocated-from-pool``, this controller has not given it an
address, and the user has not asked for one of our pools or addresses by a metallb annotation. (MetalLB
itself would take such a service over; k3s' Traefik keeps the node's address it had.) A host name in the
status is somebody else's under the same conditions.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from implementation.loadbalancer import inputs
from implementation.loadbalancer.allocate import AllocationError, Allocator, Request
from implementation.loadbalancer.pools import Configuration
from implementation.objects.balanced import BalancedService
from implementation.objects.fields import ObjectError, family


class Event(msgspec.Struct, frozen=True):
    """An Event of the Kubernetes API: ``kind`` Normal or Warning."""

    kind: str
    reason: str
    message: str


class Decision(msgspec.Struct, frozen=True):
    """What the service's status and annotation must be; ``ours`` false means: touch nothing.

    ``pending`` says that it wants an address and has none, so it is looked at again when one may have come
    free.
    """

    ours: bool
    ingress: tuple[str, ...] = ()
    pool: str = ""
    events: tuple[Event, ...] = ()
    pending: bool = False


UNTOUCHED = Decision(ours=False)


class _Refused(Exception):
    """The service gets no address; carries the event that says so."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.message)
        self.event = event


def decide(
    service: BalancedService, config: Configuration, allocator: Allocator,
    *, namespace_labels: Mapping[str, str], load_balancer_class: str | None = None,
) -> Decision:
    """Bring the allocator up to this state of the service, and say what must be written."""
    wanted = service.type == "LoadBalancer" and service.load_balancer_class == load_balancer_class
    if not wanted:
        held = allocator.release(service.key)
        marked = inputs.read(service, inputs.ALLOCATED_FROM) != ""
        # A service of another class is not ours to clean, whatever it carries.
        return Decision(ours=(held or marked) and service.type != "LoadBalancer")
    if foreign(service, config, allocator):
        return UNTOUCHED
    events = [Event("Warning", "deprecatedAnnotation", f"Service uses deprecated annotation {name}")
              for name in inputs.deprecated(service)]
    try:
        addresses = _addresses(service, allocator, namespace_labels, events)
    except _Refused as refused:
        allocator.release(service.key)
        return Decision(ours=True, events=(*events, refused.event), pending=True)
    return Decision(ours=True, ingress=addresses, pool=allocator.pool(service.key), events=tuple(events))


def foreign(service: BalancedService, config: Configuration, allocator: Allocator) -> bool:
    """Whether another load balancer wrote this status (see the rule at the top of this file)."""
    if not service.ingress and not service.foreign_hostname:
        return False
    if allocator.held(service.key) or inputs.read(service, inputs.ALLOCATED_FROM):
        return False
    if inputs.read(service, inputs.POOL) or inputs.read(service, inputs.ADDRESSES):
        return False
    return not any(config.pool_of(address) for address in service.ingress)


def families(service: BalancedService) -> tuple[int, ...]:
    """The families the service needs: those of its ClusterIPs, first one first."""
    return tuple(dict.fromkeys(family(address) for address in service.cluster_ips))


def request(service: BalancedService, namespace_labels: Mapping[str, str]) -> Request:
    """The service as the allocator sees it; the backend key tells which services may share (see
    allocate.py).
    """
    backend = ",".join(f"{k}={v}" for k, v in service.selector) if service.external_local else ""
    return Request(
        key=service.key, families=families(service), namespace=service.namespace,
        namespace_labels=namespace_labels, labels=dict(service.labels), ports=service.ports,
        sharing=inputs.read(service, inputs.SHARING), backend=backend,
        dual_preferred=service.family_policy == "PreferDualStack",
    )


def _addresses(
    service: BalancedService, allocator: Allocator, namespace_labels: Mapping[str, str], events: list[Event],
) -> tuple[str, ...]:
    """The addresses the service has or now gets; _Refused where it gets none."""
    ask = request(service, namespace_labels)
    if not ask.families:
        raise _Refused(Event("Warning", "AllocationFailed", _failed(service, "invalid ClusterIPs [] [], "
                                                                    "can't determine family")))
    if service.family_policy == "RequireDualStack" and len(ask.families) < 2:
        raise _Refused(Event("Warning", "not enough clusterips", "Service requires dual stack but not enough "
                             f"clusterips [{' '.join(service.cluster_ips)}]"))
    try:
        desired = inputs.requested_addresses(service)
    except ObjectError as error:
        if service.ingress:
            raise _Refused(Event("Warning", "LoadBalancerFailed",
                                 f"invalid requested loadbalancer IPs: {error}")) from error
        raise _Refused(Event("Warning", "AllocationFailed", _failed(service, str(error)))) from error
    kept = _kept(service, allocator, ask, desired, events)
    if kept:
        return _with_second_family(service, allocator, ask, kept, events)
    try:
        found = _new(service, allocator, ask, desired)
    except AllocationError as error:
        raise _Refused(Event("Warning", "AllocationFailed", _failed(service, str(error)))) from error
    events.append(Event("Normal", "IPAllocated", f"Assigned IP {_quoted(found)}"))
    return found


def _kept(
    service: BalancedService, allocator: Allocator, ask: Request, desired: tuple[str, ...],
    events: list[Event],
) -> tuple[str, ...]:
    """What the service keeps of its status (or of what it was given last); empty when it must get new
    addresses.
    """
    held = allocator.held(service.key)
    # Another controller may have written over the status: what we gave stands, or two would drive the
    # address about.
    overwritten = service.foreign_hostname or not all(allocator.owns(address) for address in service.ingress)
    current = held if held and overwritten else service.ingress or held
    have = {family(address) for address in current}
    if have != set(ask.families) and not (ask.dual_preferred and have and have < set(ask.families)):
        allocator.release(service.key)
        return ()
    try:
        allocator.assign(ask, current)
    except AllocationError as error:
        events.append(Event("Normal", "ClearAssignment", f'current IP for "{service.key}" not allowed by '
                            f"config, will attempt for new IP assignment: {error}"))
        allocator.release(service.key)
        return ()
    pool = inputs.read(service, inputs.POOL)
    other_pool = pool != "" and allocator.pool(service.key) != pool
    if other_pool or (desired and set(desired) != set(current)):
        allocator.release(service.key)
        return ()
    return current


def _with_second_family(
    service: BalancedService, allocator: Allocator, ask: Request, kept: tuple[str, ...], events: list[Event],
) -> tuple[str, ...]:
    """Under PreferDualStack a service with one address gets the other family's too, once its pool can give
    it.
    """
    if len(kept) != 1 or not ask.dual_preferred or len(ask.families) < 2:
        return kept
    both = allocator.add_family(ask)
    if both is None:
        events.append(Event("Normal", "AdditionalAssignFailed", "cannot assign additional IP in "
                            f'PreferDualStack: no available IPs in pool "{allocator.pool(service.key)}"'))
        return kept
    events.append(Event("Normal", "IPAllocated", f'Assigned additional IP "{both[-1]}"'))
    return both


def _new(
    service: BalancedService, allocator: Allocator, ask: Request, desired: tuple[str, ...],
) -> tuple[str, ...]:
    pool = inputs.read(service, inputs.POOL)
    if not desired:
        return allocator.allocate_from(ask, pool) if pool else allocator.allocate(ask)
    if {family(address) for address in desired} != set(ask.families):
        raise AllocationError(
            f"requested loadBalancer IP(s) {_quoted(desired)} does not match the ipFamily of the service")
    allocator.assign(ask, desired)
    if pool and allocator.pool(service.key) != pool:
        allocator.release(service.key)
        raise AllocationError(f"requested loadBalancer IP(s) {_quoted(desired)} is not compatible with "
                              f"requested address pool {pool}")
    return desired


def _failed(service: BalancedService, reason: str) -> str:
    return f'Failed to allocate IP for "{service.key}": {reason}'


def _quoted(addresses: tuple[str, ...]) -> str:
    """A list of addresses as MetalLB prints it: each in quotes, blanks between, brackets around."""
    return "[" + " ".join(f'"{address}"' for address in addresses) + "]"
