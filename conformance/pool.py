"""The load balancer's addresses: the seed post's ConfigMap, or what the cluster has already."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from conformance import objects
from conformance.features import Feature
from conformance.kube import KubeError
from conformance.rig import Rig

NAMESPACE, NAME = "metallb-system", "config"
FIRST, LAST = "192.168.2.200", "192.168.2.225"
TEXT = f"""address-pools:
- name: default
  protocol: layer2
  addresses:
  - {FIRST}-{LAST}
"""


@dataclass(frozen=True)
class Pool:
    """From ``first`` to ``last``; both empty when the cluster's own pool is not known."""

    first: str = ""
    last: str = ""

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
    made = objects.config_map(NAME, rig.run, {"config": TEXT})
    answer = await rig.kube.attempt(made, NAMESPACE)
    if answer.code == 409:
        return Pool()
    if not answer.ok:
        raise KubeError(f"create ConfigMap {NAMESPACE}/{NAME}: {answer.said()}")
    return Pool(FIRST, LAST)
