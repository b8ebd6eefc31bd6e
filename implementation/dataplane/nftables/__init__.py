"""Mode nftables: a Service is rows in shared tables, written over netlink.

``tables`` gives the rows of a Service, ``layout`` and ``picks`` the sets and shared chains,
``difference`` what to
write, ``netlink`` the bytes, ``kernel`` the socket, ``readback`` what is there, ``family`` joins them
for one family,
``show`` tells it in words. :class:`Nftables` is the data plane.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from implementation.dataplane import Applied, DataplaneError, Part, Where
from implementation.dataplane.nftables import readback
from implementation.dataplane.nftables.family import TableOf
from implementation.dataplane.nftables.kernel import Kernel, Notices
from implementation.dataplane.nftables.layout import TABLE
from implementation.dataplane.nftables.options import Options
from implementation.dataplane.nftables.shapes import Family
from implementation.state.desired import Desired, ServedService, ServiceKey

log = logging.getLogger("kube-proxy.nftables")
ATTEMPTS = 5  # at a full write while others write as well


class Nftables:
    """The data plane in mode nftables, both families; IPv6 is touched once something needs it."""

    def __init__(self, options: Options, kernel: Kernel | None = None) -> None:
        self._kernel = kernel or Kernel()
        try:
            self._notices = Notices(self._kernel.port)
        except OSError as error:
            raise DataplaneError(f"notices of nf_tables cannot be had: {error}") from error
        self._options = options
        self._families = {4: TableOf(self._kernel, Family(4), options)}
        self._seen: dict[ServiceKey, ServedService] | None = None  # in force; None before the first apply
        self._unsettled: set[ServiceKey] = set()  # to be looked at again: refused, or in an apply that failed

    def apply(self, desired: Desired) -> Applied:
        """See :meth:`implementation.dataplane.Dataplane.apply`."""
        services = desired.services
        changed = self._changed(services, desired.changed)
        self._unsettled |= set(changed)
        self._open_families(services[key] for key in changed if key in services)
        if all(family.known for family in self._families.values()):
            parts = self._write(desired, changed)
        else:
            parts = self._write_unheard(desired, changed)
        self._remember(services, changed)
        return Applied(parts, tuple(changed))

    def _write(self, desired: Desired, changed: list[ServiceKey]) -> tuple[Part, ...]:
        addresses = desired.node_port_addresses
        return tuple(family.apply(desired.services, changed, addresses) for family in self._families.values())

    def _write_unheard(self, desired: Desired, changed: list[ServiceKey]) -> tuple[Part, ...]:
        """A full write. Nobody listens meanwhile (see :meth:`Notices.pause`); that somebody else wrote shows
        in the kernel's count of transactions, and then the tables are read once more."""
        for _ in range(ATTEMPTS):
            self._notices.pause()
            try:
                before = self._kernel.generation() - self._kernel.commits
                parts = self._write(desired, changed)
            finally:
                self._notices.resume()
            if self._kernel.generation() - self._kernel.commits == before:
                return parts
            self.forget()
        raise DataplaneError(f"somebody else changed nf_tables during each of {ATTEMPTS} attempts to write")

    def prepare(self, services: Mapping[ServiceKey, ServedService]) -> None:
        """See :meth:`implementation.dataplane.Preparing.prepare`."""
        if self._seen is None:
            self._families[4].prepare(services)

    def forget(self) -> None:
        """See :meth:`implementation.dataplane.Dataplane.forget`. The next apply reads the tables back."""
        for family in self._families.values():
            family.known = False

    def intact(self) -> bool:
        """False when somebody changed one of our tables since the last look."""
        return not self._notices.touched(TABLE)

    def fileno(self) -> int:
        """Becomes readable when somebody changed some table: look then."""
        return self._notices.fileno()

    def inherited(self) -> dict[int, frozenset[Where]]:
        """See :class:`implementation.dataplane.Inheriting`."""
        return {number: self._family(number).inherited() for number in (4, 6)}

    def left(self) -> bool:
        """See :class:`implementation.dataplane.Inheriting`."""
        return any(readback.stamp(self._kernel, Family(number)) is not None for number in (4, 6))

    def _family(self, number: int) -> TableOf:
        return self._families.get(number) or TableOf(self._kernel, Family(number), self._options)

    def cleanup(self) -> None:
        """Delete our tables of both families."""
        for number in (4, 6):
            self._family(number).remove()

    def _open_families(self, new: Iterable[ServedService]) -> None:
        if 6 in self._families:
            return
        first = not self._families[4].known  # a table of before may be there still
        if any(port.family == 6 for served in new for port in served.ports) or (
            first and readback.stamp(self._kernel, Family(6)) is not None
        ):
            self._families[6] = TableOf(self._kernel, Family(6), self._options)

    def _changed(
        self, services: Mapping[ServiceKey, ServedService], told: frozenset[ServiceKey] | None
    ) -> list[ServiceKey]:
        """The Services that differ from what is in force, and those that are unsettled, be they gone by now;
        where it is told which may differ, others are not looked at."""
        seen, unsettled = self._seen, self._unsettled
        if seen is None or told is None:
            seen = seen or {}
            changed = [key for key, served in services.items() if seen.get(key) != served]
            return changed + [key for key in sorted(seen.keys() | unsettled) if key not in services]
        return sorted(unsettled.union(key for key in told if seen.get(key) != services.get(key)))

    def _remember(self, services: Mapping[ServiceKey, ServedService], changed: Iterable[ServiceKey]) -> None:
        """Note what is in force; a Service the kernel refused is tried again with the next apply."""
        seen = self._seen = {} if self._seen is None else self._seen
        for key in changed:
            if key in services:
                seen[key] = services[key]
            else:
                seen.pop(key, None)
        self._unsettled = set()
        for family in self._families.values():
            for key, said in family.refused.items():
                seen.pop(key, None)
                self._unsettled.add(key)
                log.error("%s", said)
