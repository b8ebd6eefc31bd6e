"""The numbers of the blog post the project started from: what its kubectl and iptables output shows."""

from __future__ import annotations

from typing import Any

# Services by namespace/name: the cluster address, and the node ports by port number.
SERVICES: dict[str, dict[str, Any]] = {
    "default/nextcloud-dev-clusterip": {"clusterIP": "10.43.7.203"},
    "default/nextcloud-dev-nodeport": {"clusterIP": "10.43.3.110", "nodePorts": {"80": 32540}},
    "default/nextcloud-dev-loadbalancer": {"clusterIP": "10.43.208.81", "nodePorts": {"80": 31114}},
    "kube-system/traefik": {"clusterIP": "10.43.212.219", "nodePorts": {"80": 32452, "443": 32320}},
    "kube-system/traefik-prometheus": {"clusterIP": "10.43.243.252"},
    "kube-system/metrics-server": {"clusterIP": "10.43.143.113"},
}

# The last number of the first address each node hands out: 10.42.0.85 and 10.42.1.170 (then 10.42.1.171).
FIRST_POD = (85, 170)
_KEPT = {(0, 85), (1, 170), (1, 171)}  # (node, last number): for pods of namespace default only


class Addresses:
    """Hands out the last numbers of one node's pod network, 2 to 254.

    An address is used again as late as possible, so that no old connection meets a new pod. With ``seeded``,
    pods of namespace default get the post's numbers, lowest first, however often they are made again; the
    post's ``debian-bash`` leaves 10.42.1.170 to NextCloud even when it is quicker.
    """

    def __init__(self, index: int, *, seeded: bool) -> None:
        self._index = index
        self._seeded = seeded
        self._used: set[int] = set()
        self._last = 1

    def take(self, namespace: str, name: str = "") -> int:
        """A free number for a pod; LookupError when all are in use."""
        posts = self._seeded and namespace == "default" and self._index < len(FIRST_POD)
        first = FIRST_POD[self._index] + name.startswith("debian") if posts else self._last + 1
        for step in range(253):
            number = (first - 2 + step) % 253 + 2
            kept = self._seeded and not posts and (self._index, number) in _KEPT
            if number not in self._used and not kept:
                self._used.add(number)
                if not posts:
                    self._last = number
                return number
        raise LookupError("all 253 addresses of the node's pod network are in use")

    def give_back(self, number: int) -> None:
        """The pod is gone."""
        self._used.discard(number)
