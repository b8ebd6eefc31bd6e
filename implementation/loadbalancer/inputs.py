"""The annotations a user or the controller writes on a Service; MetalLB's names, the old prefix still read.
Pure.
"""

from __future__ import annotations

from implementation.objects.balanced import BalancedService
from implementation.objects.fields import ObjectError, address, family

PREFIX = "metallb.io/"
DEPRECATED = "metallb.universe.tf/"
POOL = "address-pool"
ADDRESSES = "loadBalancerIPs"
SHARING = "allow-shared-ip"
ALLOCATED_FROM = "ip-allocated-from-pool"


def read(service: BalancedService, name: str) -> str:
    """The annotation's value, from today's prefix before the old one; empty where there is none."""
    found = dict(service.annotations)
    return found.get(PREFIX + name, found.get(DEPRECATED + name, ""))


def deprecated(service: BalancedService) -> list[str]:
    """The old-prefix annotations a user set on this service."""
    found = dict(service.annotations)
    return [DEPRECATED + name for name in (POOL, ADDRESSES, SHARING) if DEPRECATED + name in found]


def requested_addresses(service: BalancedService) -> tuple[str, ...]:
    """The addresses asked for by annotation or spec.loadBalancerIP, in canonical spelling.

    Raises ObjectError with MetalLB's words: for both ways at once, for what is no address, for two of one
    family.
    """
    text = read(service, ADDRESSES)
    if text and service.requested_ip:
        raise ObjectError(f"service can not have both {PREFIX}{ADDRESSES} and svc.Spec.LoadBalancerIP")
    if service.requested_ip:
        try:
            return (address(service.requested_ip, "spec.loadBalancerIP"),)
        except ObjectError:
            raise ObjectError(f'invalid spec.loadBalancerIP "{service.requested_ip}"') from None
    if not text:
        return ()
    try:
        found = tuple(address(part.strip(), ADDRESSES) for part in text.split(","))
    except ObjectError:
        raise ObjectError(f'invalid {PREFIX}{ADDRESSES}: "{text}"') from None
    if len(found) > 2 or len({family(one) for one in found}) != len(found):
        raise ObjectError(f'invalid {PREFIX}{ADDRESSES}: "{text}" must be one address of each family at most')
    return found
