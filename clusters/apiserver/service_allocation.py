"""Gives Services their addresses and node ports, keeps and releases them. Pure; words as Kubernetes 1.36.

Order of the steps and every refusal: ``pkg/registry/core/service/storage/alloc.go``. Allocation comes before
validation there, so a Service wrong in both ways is told of the allocation first.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clusters.apiserver import service_fields as fields
from clusters.apiserver.allocation import (
    IP_ALLOCATED,
    IP_ELSEWHERE,
    Full,
    Network,
    Pool,
    Transaction,
    address_pool,
    address_span,
    port_pool,
)
from clusters.apiserver.service_families import keeps_dual_preference, settle_families
from clusters.apiserver.service_fields import HEADLESS, Spec
from clusters.apiserver.service_ports import SERVICE, NodePorts
from clusters.apiserver.status import Refused, internal, invalid, invalid_object


@dataclass(frozen=True)
class Reservation:
    """Numbers kept for one Service by name: its address, and node ports by port number."""

    cluster_ip: str = ""
    node_ports: Mapping[int, int] = field(default_factory=dict)


class Allocator:
    """The Service numbers of one cluster. ``networks``: one or two, of different families, the primary
    first.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        ports: tuple[int, int],
        reserved: Mapping[str, Reservation] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.Random()
        self.reserved = dict(reserved or {})
        kept_ips = [r.cluster_ip for r in self.reserved.values() if r.cluster_ip]
        self.networks = {f"IPv{network.version}": network for network in networks}
        self.addresses = {
            name: address_pool(network, rng, kept_ips) for name, network in self.networks.items()
        }
        kept_ports = [port for r in self.reserved.values() for port in r.node_ports.values()]
        self.ports = NodePorts(port_pool(*ports, rng, kept_ports))

    @property
    def families(self) -> list[str]:
        """The cluster's IP families, the primary one first."""
        return list(self.networks)

    def create(self, key: str, new: Spec, dry_run: bool) -> Transaction:
        """Completes a new Service's spec; ``key`` is namespace/name. Refused: as Kubernetes refuses it."""
        name = key.partition("/")[2]
        self._prefer_reserved(key, new)
        fields.align_cluster_ips(new, None)
        self._families(name, new, None)
        deal = Transaction(dry_run)
        try:
            self._take_addresses(name, new, deal)
            if fields.needs_node_port(new):
                self.ports.take_new(name, new, deal)
            if fields.needs_health_check_port(new):
                self.ports.take_health_check(new, deal)
        except Refused:
            deal.revert()
            raise
        return deal

    def update(self, key: str, new: Spec, old: Spec, dry_run: bool) -> Transaction:
        """Completes a changed Service's spec and notes what it no longer uses. Refused: as ``create``."""
        name = key.partition("/")[2]
        fields.carry_over(new, old)
        if old["type"] != new["type"]:
            self._prefer_reserved(key, new)
        fields.align_cluster_ips(new, old)
        self._families(name, new, old)
        deal = Transaction(dry_run)
        try:
            self._change_addresses(name, new, old, deal)
            self.ports.change(name, new, old, deal)
        except Refused:
            deal.revert()
            raise
        return deal

    def release(self, spec: Spec) -> None:
        """Gives back everything a deleted Service held."""
        for pool, number in self._numbers(spec):
            pool.release(number)

    def adopt(self, spec: Spec) -> None:
        """Takes everything a Service of an earlier life holds."""
        for pool, number in self._numbers(spec):
            pool.take(number)

    def widen(self, name: str, networks: Iterable[Network]) -> None:
        """Gives Services addresses of these networks, too, known by a name; other families are left out."""
        self.narrow(name)
        for network in networks:
            family = f"IPv{network.version}"
            if family in self.networks and network != self.networks[family]:
                self.addresses[family].more.setdefault(name, []).append(address_span(network))

    def narrow(self, name: str) -> None:
        """Gives Services no more addresses of the networks of this name."""
        for pool in self.addresses.values():
            pool.more.pop(name, None)

    def hold(self, address: str) -> None:
        """Keeps an address from Services."""
        pool = self.addresses.get(fields.family(address))
        if pool is not None:
            pool.take(int(ipaddress.ip_address(address)))

    def let_go(self, address: str) -> None:
        """Lets Services have an address."""
        pool = self.addresses.get(fields.family(address))
        if pool is not None:
            pool.release(int(ipaddress.ip_address(address)))

    def _numbers(self, spec: Spec) -> Iterator[tuple[Pool, int]]:
        for address in spec.get("clusterIPs", ()):
            if address != HEADLESS and (pool := self.addresses.get(fields.family(address))) is not None:
                yield pool, int(ipaddress.ip_address(address))
        for port in fields.node_ports(spec):
            yield self.ports.pool, port
        if fields.needs_health_check_port(spec) and "healthCheckNodePort" in spec:
            yield self.ports.pool, spec["healthCheckNodePort"]

    def _prefer_reserved(self, key: str, new: Spec) -> None:
        kept = self.reserved.get(key)
        if kept is None:
            return
        pool = self.addresses[self.families[0]]
        if (
            kept.cluster_ip
            and fields.needs_cluster_ip(new)
            and not new.get("clusterIP")
            and not new.get("clusterIPs")
            and int(ipaddress.ip_address(kept.cluster_ip)) not in pool.taken
        ):
            new["clusterIP"] = kept.cluster_ip
        if fields.allocates_node_ports(new):
            for port in new.get("ports", ()):
                wanted = kept.node_ports.get(port["port"])
                if wanted and not port.get("nodePort") and wanted not in self.ports.pool.taken:
                    port["nodePort"] = wanted

    def _families(self, name: str, new: Spec, old: Spec | None) -> None:
        if wrong := settle_families(new, old, self.families):
            raise invalid_object(SERVICE, name, wrong)

    def _take_addresses(self, name: str, new: Spec, deal: Transaction) -> None:
        if new["type"] == "ExternalName" or new.get("clusterIPs", [""])[0] == HEADLESS:
            return
        wanted = list(new.get("clusterIPs", ()))
        for index, family in enumerate(new["ipFamilies"]):
            if index >= len(wanted):
                wanted.append("")
            wanted[index] = self._take_address(name, new, family, wanted[index], deal)
        new["clusterIPs"], new["clusterIP"] = wanted, wanted[0]

    def _take_address(self, name: str, new: Spec, family: str, wanted: str, deal: Transaction) -> str:
        pool, network = self.addresses[family], self.networks[family]
        if not wanted:
            if deal.dry_run:
                return str(network.network_address)  # as Kubernetes: a dry run looks for no free one
            try:
                number = pool.next()
            except Full as full:
                raise internal(f"failed to allocate a serviceIP: {full}") from None
            deal.note_taken(pool, number)
            return str(
                ipaddress.ip_address(number) if network.version == 4 else ipaddress.IPv6Address(number)
            )
        number = int(ipaddress.ip_address(wanted))
        why = ""
        if number not in pool or family != fields.family(wanted):
            why = IP_ELSEWHERE
            if deal.dry_run:
                why = f"the provided IP ({wanted}) is not in the valid range. "
                why += f"The range of valid IPs is {network}"
        elif not deal.dry_run and not pool.take(number):
            why = IP_ALLOCATED
        if why:
            shown = new.get("clusterIPs", [wanted])
            raise invalid_object(
                SERVICE, name, [invalid("spec.clusterIPs", shown, f"failed to allocate IP {wanted}: {why}")]
            )
        if not deal.dry_run:
            deal.note_taken(pool, number)
        return wanted

    def _change_addresses(self, name: str, new: Spec, old: Spec, deal: Transaction) -> None:
        if keeps_dual_preference(new, old):
            return
        if old["type"] == "ExternalName" != new["type"]:
            self._take_addresses(name, new, deal)
            return
        if old.get("clusterIPs", [""])[:1] == [HEADLESS]:
            return
        if old["type"] != "ExternalName" == new["type"]:
            for address in old.get("clusterIPs", ()):
                self._release_later(address, deal)
            return
        before, after = len(old.get("ipFamilies", ())), len(new.get("ipFamilies", ()))
        if (before, after) == (1, 2):
            wanted = list(new.get("clusterIPs", ()))
            wanted += [""] * (2 - len(wanted))
            wanted[1] = self._take_address(name, new, new["ipFamilies"][1], wanted[1], deal)
            new["clusterIPs"] = wanted
        elif (before, after) == (2, 1):
            self._release_later(old["clusterIPs"][1], deal)

    def _release_later(self, address: str, deal: Transaction) -> None:
        pool = self.addresses.get(fields.family(address))
        if pool is not None:
            deal.release_later(pool, int(ipaddress.ip_address(address)))
