"""Gives Services their node ports, keeps and releases them. Pure; source as in service_allocation."""

from __future__ import annotations

from clusters.apiserver import service_fields as fields
from clusters.apiserver.allocation import PORT_ALLOCATED, Full, Pool, Taken, Transaction
from clusters.apiserver.builtin import builtin
from clusters.apiserver.service_fields import Spec
from clusters.apiserver.status import FieldError, Refused, internal, invalid, invalid_object

SERVICE = builtin("", "v1", "services")


class NodePorts:
    """The node ports of one cluster, from one pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def take_new(self, name: str, new: Spec, deal: Transaction) -> None:
        """Node ports of a Service that had none. Refused: as Kubernetes refuses them."""
        ports = new.get("ports", ())
        given: dict[int, int] = {}  # port number to node port: one for TCP and UDP of the same port
        for index, port in enumerate(ports):
            number = port.get("nodePort", 0)
            if not number and not fields.allocates_node_ports(new):
                continue
            had = given.get(port["port"], 0)
            if had:
                if not number:
                    port["nodePort"] = had
                elif number != had:
                    self._take_or_refuse(name, index, number, deal)
                continue
            wanted = next(
                (p["nodePort"] for p in ports if p["port"] == port["port"] and p.get("nodePort")), 0
            )
            if wanted:
                self._take_or_refuse(name, index, wanted, deal)
            port["nodePort"] = given[port["port"]] = wanted or self._any(deal)

    def change(self, name: str, new: Spec, old: Spec, deal: Transaction) -> None:
        """Node ports of a changed Service, and what it no longer uses is noted. Refused: as ``take_new``."""
        if fields.needs_node_port(old) and not fields.needs_node_port(new):
            for number in fields.node_ports(old):
                deal.release_later(self.pool, number)
        if fields.needs_node_port(new):
            self._take_changed(name, new, old, deal)
        needed, needs = fields.needs_health_check_port(old), fields.needs_health_check_port(new)
        if needs and not needed:
            self.take_health_check(new, deal)
        elif needed and not needs and "healthCheckNodePort" in old:
            deal.release_later(self.pool, old["healthCheckNodePort"])

    def take_health_check(self, new: Spec, deal: Transaction) -> None:
        """Its healthCheckNodePort, the one it asks for or any. Refused: as ``take_new``."""
        wanted = new.get("healthCheckNodePort", 0)
        try:
            if wanted:
                self._take(wanted, deal)
            else:
                new["healthCheckNodePort"] = self._next(deal)
        except Taken as taken:
            raise internal(f"failed to allocate requested HealthCheck NodePort {wanted}: {taken}") from None
        except Full as full:
            raise internal(f"failed to allocate a HealthCheck NodePort 0: {full}") from None

    def _take(self, number: int, deal: Transaction) -> None:
        """Taken: not in the range, or somebody has it. A dry run takes nothing and, as upstream, skips
        the range.
        """
        if deal.dry_run:
            if number in self.pool.taken or number in deal.pretended:
                raise Taken(PORT_ALLOCATED)
            deal.pretended.append(number)
            return
        if number not in self.pool:
            raise Taken(
                "provided port is not in the valid range. The range of valid ports is "
                f"{self.pool.first}-{self.pool.last}"
            )
        if not self.pool.take(number):
            raise Taken(PORT_ALLOCATED)
        deal.note_taken(self.pool, number)

    def _next(self, deal: Transaction) -> int:
        """Full: no port is left. A dry run invents a number above all it has seen, as upstream does."""
        if deal.dry_run:
            number = max(deal.pretended, default=32768) + 1
            deal.pretended.append(number)
            return number
        number = self.pool.next()
        deal.note_taken(self.pool, number)
        return number

    def _take_or_refuse(self, name: str, index: int, number: int, deal: Transaction) -> None:
        try:
            self._take(number, deal)
        except Taken as taken:
            wrong: FieldError = invalid(f"spec.ports[{index}].nodePort", number, str(taken))
            raise invalid_object(SERVICE, name, [wrong]) from None

    def _any(self, deal: Transaction) -> int:
        try:
            return self._next(deal)
        except Full as full:
            raise internal(f"failed to allocate a nodePort: {full}") from None

    def _take_changed(self, name: str, new: Spec, old: Spec, deal: Transaction) -> None:
        had, mine, seen = set(fields.node_ports(old)), set(), set()
        for index, port in enumerate(new.get("ports", ())):
            number = port.get("nodePort", 0)
            if not number and not fields.allocates_node_ports(new):
                continue
            if not number:
                port["nodePort"] = number = self._any(deal)
            elif number not in had and number not in mine:
                self._take_or_refuse(name, index, number, deal)
                mine.add(number)
            if (port["protocol"], number) in seen:
                raise Refused(500, "", f"duplicate nodePort: {{{port['protocol']} {number}}}")
            seen.add((port["protocol"], number))
        for number in had - set(fields.node_ports(new)):
            deal.release_later(self.pool, number)
