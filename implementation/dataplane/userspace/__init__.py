"""Mode userspace: connections are redirected to sockets of this process, which talks to the endpoints itself.

``doors`` decides which sockets there must be and who is led to which, ``turns`` which endpoint is next,
``redirect``
writes the rules, ``listener`` and ``datagrams`` are the sockets, ``pump`` the thread that moves the bytes.
:class:`Userspace` is the data plane.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import time
from collections.abc import Mapping

from implementation.dataplane import Applied, DataplaneError, Part, Where
from implementation.dataplane.nftables.kernel import Kernel, Notices
from implementation.dataplane.nftables.options import Options
from implementation.dataplane.nftables.shapes import Family
from implementation.dataplane.userspace import doors, redirect
from implementation.dataplane.userspace.datagrams import Datagrams
from implementation.dataplane.userspace.doors import Door, Plan, Pool
from implementation.dataplane.userspace.listener import Listener
from implementation.dataplane.userspace.pump import Pump
from implementation.dataplane.userspace.redirect import TABLE, Table
from implementation.dataplane.userspace.turns import Clients, Turns
from implementation.state.desired import Desired, ServedService, ServiceKey

log = logging.getLogger("kube-proxy.userspace")


class Userspace:
    """The data plane in mode userspace, both families; IPv6 is touched once something needs it."""

    def __init__(self, options: Options, kernel: Kernel | None = None) -> None:
        self._kernel = kernel or Kernel()
        self._notices = Notices(self._kernel.port)
        self._options = options
        self._tables = {4: Table(self._kernel, Family(4), options)}
        self._inherited: dict[int, frozenset[Where]] | None = None
        self._pump: Pump | None = None
        self._sockets: dict[Door, Listener | Datagrams] = {}
        self._clients: dict[tuple[str, ...], Clients] = {}
        self._seen: Mapping[ServiceKey, ServedService] = {}

    def apply(self, desired: Desired) -> Applied:
        """See :meth:`implementation.dataplane.Dataplane.apply`. Sockets are opened before a rule leads to
        them, and closed when none does any more."""
        plan = doors.plan(desired)
        self.inherited()
        if self._pump is None:
            _raise_limit()
            self._pump = Pump()
        self._pump.call(lambda: self._open(plan))
        addresses = desired.node_port_addresses
        if any(where.family == 6 for where in plan.fates) or redirect.there(self._kernel, Family(6)):
            self._tables.setdefault(6, Table(self._kernel, Family(6), self._options))
        if not all(table.known for table in self._tables.values()):
            self._notices.touched(TABLE)  # what happened up to here is about to be written over
        parts = tuple(self._write(table, plan, addresses) for table in self._tables.values())
        self._pump.call(lambda: self._close(set(self._sockets) - set(plan.doors)))
        old, self._seen = self._seen, dict(desired.services)
        changed = [key for key, one in desired.services.items() if old.get(key) != one]
        return Applied(parts, (*changed, *(key for key in old if key not in desired.services)))

    def forget(self) -> None:
        """See :meth:`implementation.dataplane.Dataplane.forget`. Sockets and connections stay."""
        for table in self._tables.values():
            table.known = False

    def intact(self) -> bool:
        """False when somebody changed one of our tables since the last look."""
        return not self._notices.touched(TABLE)

    def fileno(self) -> int:
        """Becomes readable when somebody changed some table: look then."""
        return self._notices.fileno()

    def cleanup(self) -> None:
        """Delete our tables of both families, and close every socket."""
        for number in (4, 6):
            (self._tables.get(number) or Table(self._kernel, Family(number), self._options)).remove()
        self.close()

    def answering(self) -> dict[int, dict[Where, frozenset[str]]]:
        """By family, where UDP clients may send to ("" for any address of this node), and which port of ours
        (":port") must answer there: a tracked flow that leads elsewhere is stale."""
        found: dict[int, dict[Where, frozenset[str]]] = {4: {}, 6: {}}
        for where, fate in doors.plan(Desired(self._seen)).fates.items():
            if where.protocol == "udp":
                kept = frozenset((f":{self._sockets[fate].port}",)) if isinstance(fate, Door) else frozenset()
                found[where.family][where.address, where.port] = kept
        return found

    def inherited(self) -> dict[int, frozenset[Where]]:
        """See :class:`implementation.dataplane.Inheriting`."""
        if self._inherited is None:
            self._inherited = {n: redirect.udp_frontends(self._kernel, Family(n)) for n in (4, 6)}
        return self._inherited

    def left(self) -> bool:
        """See :class:`implementation.dataplane.Inheriting`."""
        return any(redirect.there(self._kernel, Family(number)) for number in (4, 6))

    def close(self) -> None:
        """Stop serving: rules stay, clients are refused until a successor leads them to its own sockets."""
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.call(lambda: self._close(set(self._sockets), cut=True))
            pump.close()

    def _open(self, plan: Plan) -> None:
        """Make every socket that is needed, and tell all of them their endpoints."""
        assert self._pump is not None
        for door, pool in plan.doors.items():
            found = self._sockets.get(door)
            if found is None:
                sort = Listener if door.protocol == "tcp" else Datagrams
                turns = Turns(self._clients.setdefault(door.service_port, Clients()))
                try:
                    found = sort(self._pump, door.family, turns, self._options.mark)
                except OSError as error:
                    raise DataplaneError(
                        f"no socket for {door.namespace}/{door.name}: {error.strerror}"
                    ) from error
                self._sockets[door] = found
            self._inform(found, door, pool)

    def _inform(self, found: Listener | Datagrams, door: Door, pool: Pool) -> None:
        self._clients[door.service_port].seconds = pool.affinity_seconds
        found.turns.replace(pool.endpoints)
        if isinstance(found, Datagrams):
            found.leave(frozenset(pool.serving))

    def _close(self, gone: set[Door], *, cut: bool = False) -> None:
        for door in gone:
            self._sockets.pop(door).close(cut=cut)
        kept = {door.service_port for door in self._sockets}
        for name in set(self._clients) - kept:
            del self._clients[name]

    def _write(self, table: Table, plan: Plan, addresses: tuple[str, ...] | None) -> Part:
        start, full = time.monotonic(), not table.known
        ports = {door: made.port for door, made in self._sockets.items() if door in plan.doors}
        rows = redirect.rows(plan, ports, table.family, addresses)
        written = table.write(rows, everywhere=addresses is None)
        return Part(table.family.number, full, time.monotonic() - start, {TABLE: (len(rows), written)})


def _raise_limit() -> None:
    """As many descriptors as allowed: a connection needs two, and two more while bytes are under way."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
