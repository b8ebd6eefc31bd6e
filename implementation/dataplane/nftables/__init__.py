"""Mode nftables: a Service is rows in shared tables, written over netlink.

``tables`` gives the rows of a Service, ``layout`` and ``picks`` the sets and shared chains,
``difference`` what to
write, ``netlink`` the bytes, ``kernel`` the socket, ``readback`` what is there, ``family`` joins them
for one family,
``show`` tells it in words. :class:`Nftables` is the data plane.
"""

from __future__ import annotations

import itertools
import logging
import operator
from collections.abc import Iterable, Mapping

from implementation.dataplane import Applied, DataplaneError
from implementation.dataplane.nftables import readback
from implementation.dataplane.nftables.family import TableOf
from implementation.dataplane.nftables.kernel import Kernel, Notices
from implementation.dataplane.nftables.layout import TABLE
from implementation.dataplane.nftables.options import Options
from implementation.dataplane.nftables.shapes import Family
from implementation.state.desired import Desired, ServedService, ServiceKey

log = logging.getLogger("kube-proxy.nftables")


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
        self._seen: dict[ServiceKey, ServedService] = {}

    def apply(self, desired: Desired) -> Applied:
        """See :meth:`implementation.dataplane.Dataplane.apply`."""
        services = desired.services
        changed = self._changed(services)
        self._open_families(services[key] for key in changed if key in services)
        if not all(family.known for family in self._families.values()):
            self._notices.touched(TABLE)  # what happened up to here is about to be read
        addresses = desired.node_port_addresses
        parts = tuple(family.apply(services, changed, addresses) for family in self._families.values())
        self._remember(services, changed)
        return Applied(parts, tuple(changed))

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

    def cleanup(self) -> None:
        """Delete our tables of both families."""
        for number in (4, 6):
            (self._families.get(number) or TableOf(self._kernel, Family(number), self._options)).remove()

    def _open_families(self, new: Iterable[ServedService]) -> None:
        if 6 in self._families:
            return
        first = not self._families[4].known  # a table of before may be there still
        if any(port.family == 6 for served in new for port in served.ports) or (
            first and readback.stamp(self._kernel, Family(6)) is not None
        ):
            self._families[6] = TableOf(self._kernel, Family(6), self._options)

    def _changed(self, services: Mapping[ServiceKey, ServedService]) -> list[ServiceKey]:
        """The Services that differ from what is in force. Nearly always few of very many do, so those that
        are the same objects in the same order are passed over without a line of Python for each."""
        seen = self._seen
        if len(seen) == len(services) and all(map(operator.is_, services, seen)):
            other = map(operator.is_not, services.values(), seen.values())
            return [key for key in itertools.compress(services, other) if seen[key] != services[key]]
        changed = [key for key, served in services.items() if seen.get(key) != served]
        return changed + [key for key in seen if key not in services]

    def _remember(self, services: Mapping[ServiceKey, ServedService], changed: Iterable[ServiceKey]) -> None:
        """Note what is in force; a Service the kernel refused is tried again with the next apply."""
        for key in changed:
            if key in services:
                self._seen[key] = services[key]
        if len(self._seen) != len(services) or not all(map(operator.is_, services, self._seen)):
            self._seen = dict(services)  # in their order, see above
        for family in self._families.values():
            for key, said in family.refused.items():
                self._seen.pop(key, None)
                log.error("%s", said)
