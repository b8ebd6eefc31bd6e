"""The load balancer's addresses: the seed post's ConfigMap, or what the cluster has already."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from conformance import objects, post
from conformance.features import Feature
from conformance.kube import KubeError, Objects
from conformance.objects import Object
from conformance.post import LABELS
from conformance.rig import Rig

NAMESPACE, NAME = "metallb-system", "config"
BALANCED = "nextcloud-dev-loadbalancer"  # the post's Service, made before there is a pool
PENDING = 1.0  # seconds without an address; with a pool it takes milliseconds
FIRST, LAST = "192.168.2.200", "192.168.2.225"
TEXT = f"""address-pools:
- name: default
  protocol: layer2
  addresses:
  - {FIRST}-{LAST}
"""


@dataclass(frozen=True)
class Pool:
    """From ``first`` to ``last``; both empty when the cluster's own pool is not known.

    ``waiting`` is the Service that was there before the pool, and ``early`` the address it had by then.
    """

    first: str = ""
    last: str = ""
    waiting: Object = field(default_factory=dict)
    early: str = ""

    @property
    def size(self) -> int:
        """How many addresses; 0 when that is not known."""
        if not self.first:
            return 0
        return int(ipaddress.ip_address(self.last)) - int(ipaddress.ip_address(self.first)) + 1

    def holds(self, address: str) -> bool:
        """True for an address of the pool; for any address when the pool is not known."""
        try:
            number = int(ipaddress.ip_address(address))
        except ValueError:
            return False
        if not self.first:
            return True
        return int(ipaddress.ip_address(self.first)) <= number <= int(ipaddress.ip_address(self.last))


async def stand(rig: Rig) -> Pool:
    """Give the load balancer its pool in the way it declares. Raises KubeError when it is refused.

    A ConfigMap that is there already stays as it is, and with it the pool that somebody chose.
    """
    if rig.declaration.conduct(Feature.POOL_CONFIG) != "metallb-configmap":
        return Pool()
    await rig.share_namespace(NAMESPACE)
    waiting = await _waiting(rig)
    early = await _early(rig, waiting)
    made = objects.config_map(NAME, rig.run, {"config": TEXT})
    answer = await rig.kube.attempt(made, NAMESPACE)
    if answer.code == 409:
        return Pool()
    if not answer.ok:
        raise KubeError(f"create ConfigMap {NAMESPACE}/{NAME}: {answer.said()}")
    return Pool(FIRST, LAST, waiting, early)


async def _waiting(rig: Rig) -> Object:
    """The post's Service of type LoadBalancer, beside the post's Deployment where that is there."""
    made = objects.service(BALANCED, rig.run, [objects.port(80)], LABELS, type="LoadBalancer")
    return await rig.kube.create(made, post.namespace_of(rig) if rig.shares("seed") else NAMESPACE)


async def _early(rig: Rig, waiting: Object) -> str:
    """The address that ``waiting`` is given without any pool; empty when it keeps waiting."""
    key = waiting["metadata"]["namespace"], waiting["metadata"]["name"]

    def found(known: Objects) -> str | None:
        return next(iter(given_to(known.get(key))), None)

    try:
        return await rig.services().until(found, PENDING, f"an address for {BALANCED} before there is a pool")
    except KubeError:
        return ""


def given_to(made: Object | None) -> list[str]:
    """The addresses that a Service's status lists."""
    listed = ((made or {}).get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
    return [one["ip"] for one in listed if one.get("ip")]
