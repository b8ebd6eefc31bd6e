"""A pod's network: its namespace with its cable, its address, and its ports on the node."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.netns import hostports, topology
from clusters.netns.plan import NodePlan, of_families

if TYPE_CHECKING:
    from clusters.netns.kubelet import Kubelet

_UNPLUGGED = 0.3  # seconds for a pod's cable to go by itself


class PodNetwork:
    """``fd`` is the namespace, -1 while there is none; the addresses stay the pod's until ``release``."""

    def __init__(self, kubelet: Kubelet, node: NodePlan, pod: dict[str, Any]) -> None:
        self.on_host = bool(pod["spec"].get("hostNetwork"))
        self.fd = -1
        self.addresses: tuple[str, ...] = ()  # one a family, IPv4 first; none before ``take``
        self._kubelet, self._node, self._pod = kubelet, node, pod
        self._number = 0

    @property
    def address(self) -> str:
        """The IPv4 address."""
        return self.addresses[0]

    async def take(self) -> None:
        """Plug the pod in, at the address it had; open its ports on the node. Raises ClusterError."""
        if self.on_host:
            host = self._kubelet.rooms.host(self._node.name)
            self.fd, self.addresses = os.dup(host.network), self._node.addresses
            return
        if not self._number:
            meta = self._pod["metadata"]
            known = self._kubelet.addresses[self._node.name]
            self._number = known.take(meta.get("namespace", "default"), meta["name"])
        address = self._node.gateway.rpartition(".")[0] + f".{self._number}"
        network = self._kubelet.rooms.network
        self.fd = topology.plug_pod(network, self._node, address)
        self.addresses = of_families(address, network.dual)
        if hostports.wanted(self._pod):
            await self._on_node(hostports.opened(self._pod, address))

    def lost(self) -> None:
        """The node had no power: nothing is left of it but the address."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    async def release(self) -> None:
        """Give back the namespace, the ports on the node and the address."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            if not self.on_host:
                with suppress(ClusterError):  # a dead host has nothing left
                    if hostports.wanted(self._pod):
                        await self._on_node(hostports.closed(self._pod))
                    # What the containers' programs left running.
                    self._kubelet.rooms.host(self._node.name).clear(fd)
            os.close(fd)
            if not self.on_host:
                await self._unplugged()
        if self._number:
            self._kubelet.addresses[self._node.name].give_back(self._number)

    async def _on_node(self, rules: str) -> None:
        rooms = self._kubelet.rooms
        await hostports.write(rooms.host(self._node.name), rooms.environment(), rules)

    async def _unplugged(self) -> None:
        """Wait until the cable is gone with the pod's namespace; pull it if somebody still holds that.

        The kernel removes many namespaces at once, in a few milliseconds; each cable pulled by hand costs 20.
        """
        net = self._kubelet.rooms.network
        end = time.monotonic() + _UNPLUGGED
        while topology.is_plugged(net, self._node, self.address):
            if time.monotonic() > end:
                with suppress(OSError):
                    topology.unplug_pod(net, self._node, self.address)
                return
            await asyncio.sleep(0.003)
