"""One family's table: what was written, what has to be, and the transactions between."""

from __future__ import annotations

import errno
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from implementation.dataplane import Part, Where
from implementation.dataplane.nftables import difference, encode, layout, readback, tables
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.claims import Claims
from implementation.dataplane.nftables.difference import Step
from implementation.dataplane.nftables.frame import Frame
from implementation.dataplane.nftables.kernel import Kernel, Refused, chunks
from implementation.dataplane.nftables.layout import TABLE
from implementation.dataplane.nftables.netlink import Message
from implementation.dataplane.nftables.options import Options
from implementation.dataplane.nftables.readback import Found
from implementation.dataplane.nftables.shapes import Family
from implementation.dataplane.nftables.tables import SHARED, Numbers, Packer, Rows
from implementation.state.desired import ServedService, ServiceKey

log = logging.getLogger("kube-proxy.nftables")
FRAME = 48  # bytes of a row on the wire beside key and value
Services = Mapping[ServiceKey, ServedService]
NODE: ServiceKey = ("", "")  # owner of rows that belong to the node


class Plan(NamedTuple):
    """What a full write would do."""

    frame: list[list[bytes]]  # sets, chains, variants
    rendered: dict[ServiceKey, Rows]
    there: Rows
    stale: list[str]  # chains nothing leads to any more


class TableOf:
    """The table of one family. ``refused`` are the Services the kernel would not take, and why."""

    def __init__(self, kernel: Kernel, family: Family, options: Options) -> None:
        self.kernel, self.family, self.options = kernel, family, options
        self.known = False
        self.refused: dict[ServiceKey, str] = {}
        self._inherited: frozenset[Where] | None = None
        self._packer, self._numbers, self._claims = Packer(family), Numbers(), Claims()
        self._of: dict[ServiceKey, Rows] = {}
        self._ahead: dict[ServiceKey, tuple[ServedService, Rows]] | None = {}  # None: no more of that
        self._shared: Counter[tables.Row] = Counter()
        self._frame = Frame(kernel, family, options, self._numbers)
        self._total = 0

    def apply(
        self, services: Services, changed: Iterable[ServiceKey], addresses: Sequence[str] | None
    ) -> Part:
        """Bring ``services`` into force, of which ``changed`` differ from the last time. Raises
        DataplaneError."""
        start, full, keys = time.monotonic(), not self.known, list(changed)
        self.refused = {}
        try:
            written = self._write(services, keys, addresses)
        except Refused as first:
            log.warning("the kernel refused a change, all of it again: %s", first)
            try:
                written = self._write(services, keys, addresses)
            except Refused:
                written = self._apart(services, addresses)
            full = True
        return Part(self.family.number, full, time.monotonic() - start, {TABLE: (self._total, written)})

    def inherited(self) -> frozenset[Where]:
        """Where UDP clients could send to before the first apply. Raises DataplaneError."""
        return self._note(readback.read(self.kernel, self.family) if self._inherited is None else None)

    def _note(self, found: Found | None) -> frozenset[Where]:
        if self._inherited is None:
            self._inherited = readback.udp_frontends(self.family, found.rows if found else {})
        return self._inherited

    def prepare(self, services: Services) -> None:
        """Make the rows of Services ahead of the first write, for a kernel that has no table yet. Raises
        DataplaneError."""
        if self._ahead == {} and readback.stamp(self.kernel, self.family) is not None:
            self._ahead = None  # rows have to keep the places they have there
        if self._ahead is not None:
            for key, served in services.items():
                for other in (key, *self._claims.put(key, self._wanted_keys(served))):
                    self._ahead.pop(other, None)
                if self._claims.alone(key):
                    self._ahead[key] = (served, self._render(key, services, {}, own=False))

    def remove(self) -> None:
        """Delete the table; one that is not there is no error. Raises DataplaneError."""
        self.known = False
        try:
            self.kernel.commit([nl.message(Message.DELTABLE, self.family.af, table=TABLE)])
        except Refused as error:
            if error.number != errno.ENOENT:
                raise

    def _write(self, services: Services, changed: list[ServiceKey], addresses: Sequence[str] | None) -> int:
        known, self.known = self.known, False  # unknown until the kernel has said yes
        if known:
            written = self._write_changes(services, changed, addresses)
        else:
            written = self._write_all(services, addresses)
        self.known = True
        return written

    def _write_changes(
        self, services: Services, changed: list[ServiceKey], addresses: Sequence[str] | None
    ) -> int:
        rendered = {NODE: tables.address_rows(addresses, self._packer)}
        for key in self._concerned(services, changed):
            rendered[key] = self._render(key, services, self._of.get(key, {}), own=True)
        gone, come = Rows(), Rows()
        for key, rows in rendered.items():
            less, more = difference.between(self._of.get(key, {}), rows)
            gone.update(less)
            come.update(more)
        shares = self._shares(rendered, gone, come)
        steps = difference.steps(gone, come)
        frame = self._frame.missing()
        self._commit([*frame, *self._units(steps)])
        self._keep(rendered, shares)
        self._total += len(come) - len(gone)
        return difference.count(steps) + len(frame)

    def _write_all(self, services: Services, addresses: Sequence[str] | None) -> int:
        plan = self._plan(services, addresses)
        wanted = _union(plan.rendered)
        steps = difference.steps(*difference.between(plan.there, wanted))
        self._commit([*plan.frame, *self._units(steps)])
        self._settled(plan.rendered, wanted)
        self._frame.sweep(plan.stale)
        return difference.count(steps) + len(plan.frame)

    def _apart(self, services: Services, addresses: Sequence[str] | None) -> int:
        """Find the Services the kernel refuses by halving; all others come into force."""
        plan = self._plan(services, addresses)
        there, written = dict(plan.there), len(plan.frame)
        self._commit(plan.frame)
        waiting = [list(plan.rendered)]
        while waiting:
            keys = waiting.pop()
            come = {r: v for key in keys for r, v in plan.rendered[key].items() if there.get(r) != v}
            steps = difference.steps({row: there[row] for row in come if row in there}, come)
            try:
                self._commit(self._units(steps))
            except Refused as error:
                if len(keys) == 1:
                    self._report(keys[0], error, steps)
                    plan.rendered[keys[0]] = {r: there[r] for r in plan.rendered[keys[0]] if r in there}
                else:
                    waiting += [keys[len(keys) // 2 :], keys[: len(keys) // 2]]
                continue
            there.update(come)
            written += difference.count(steps)
        wanted = _union(plan.rendered)
        steps = difference.steps(*difference.between(there, wanted))
        self._commit(self._units(steps))
        self._settled(plan.rendered, wanted)
        self.known = True
        return written + difference.count(steps)

    def _report(self, key: ServiceKey, error: Refused, steps: Sequence[Step]) -> None:
        units = [step for step in steps for unit in self._units([step]) for _ in unit]
        step = units[error.message] if 0 <= error.message < len(units) else None
        what = f"{step.do} in {step.name}: " if step else ""
        self.refused[key] = f"Service {'/'.join(key)} is not in force, the kernel refused {what}{error}"

    def _concerned(self, services: Services, changed: list[ServiceKey]) -> list[ServiceKey]:
        """The changed Services, and those that gain or lose an address by it."""
        found = dict.fromkeys(changed)
        for key in changed:
            found.update(dict.fromkeys(sorted(self._claims.put(key, self._wanted_keys(services.get(key))))))
        return list(found)

    def _wanted_keys(self, served: ServedService | None) -> dict[bytes, int]:
        ports = served.ports if served else ()
        found: dict[bytes, int] = {}
        for port in ports:
            if port.family == self.family.number:
                for one in self._packer.frontends(port):
                    found[one.key] = min(found.get(one.key, 1), 0 if one.inside else 1)
        return found

    def _render(self, key: ServiceKey, services: Services, before: Rows, *, own: bool) -> Rows:
        served = services.get(key)
        if served is None:
            return {}

        def denied(frontend: bytes) -> bool:
            return self._claims.denied(key, frontend)

        return tables.service_rows(served, self._packer, self._numbers, before, own=own, denied=denied)

    def _shares(self, rendered: dict[ServiceKey, Rows], gone: Rows, come: Rows) -> Counter[tables.Row]:
        """Rows that several Services need come with the first and go with the last; gives how many more need
        each."""
        more: Counter[tables.Row] = Counter()
        for key, rows in rendered.items():
            more.update(row for row in rows if row[0] in SHARED)
            more.subtract(row for row in self._of.get(key, ()) if row[0] in SHARED)
        for row, change in more.items():
            now = self._shared[row]
            if now and now + change:  # was there and stays
                gone.pop(row, None)
                come.pop(row, None)
        return more

    def _keep(self, rendered: dict[ServiceKey, Rows], shares: Counter[tables.Row]) -> None:
        for key, rows in rendered.items():
            if rows:
                self._of[key] = rows
            else:
                self._of.pop(key, None)
        for row, change in shares.items():
            self._shared[row] += change
            if not self._shared[row]:
                del self._shared[row]

    def _plan(self, services: Services, addresses: Sequence[str] | None) -> Plan:
        """Read the table back and decide everything anew."""
        found = readback.read(self.kernel, self.family)
        self._note(found)
        usable = found is not None and found.stamp == layout.stamp(self.family, self.options)
        state = found if found is not None and usable else Found("", {}, {}, {})
        if usable:
            self._ahead = None
        if not self._ahead:
            self._numbers.learn(state.variants, readback.affinity_numbers(state.rows))
            self._claims.clear()
        rendered = {NODE: tables.address_rows(addresses, self._packer)}
        rendered |= self._render_all(services, state.rows)
        frame = [] if usable else [encode.fresh_table(self.family, layout.stamp(self.family, self.options))]
        frame += self._frame.whole(state)
        stale = [name for name in state.variants if name not in self._numbers.wanted]
        return Plan(frame, rendered, state.rows, stale)

    def _render_all(self, services: Services, before: Rows) -> dict[ServiceKey, Rows]:
        """The rows of every Service; those made ahead are good unless their Service changed, or another one
        has taken an address of it since or left it one."""
        ahead, self._ahead = self._ahead or {}, None
        good = {key for key, (served, _) in ahead.items() if services.get(key) is served}
        for key in self._claims.known() - good:
            good -= self._claims.put(key, {})
        for key in sorted(services.keys() - good):
            good -= self._claims.put(key, self._wanted_keys(services[key]))
        return {
            key: ahead[key][1] if key in good else self._render(key, services, before, own=False)
            for key in sorted(services)
        }

    def _units(self, steps: Sequence[Step]) -> list[list[bytes]]:
        """The messages of these steps, in parts that must each stay whole."""
        found: list[list[bytes]] = []
        for step in steps:
            longest = max(len(key) + len(value) for key, value in step.rows)
            piece = max(1, nl.LIST_BYTES // (longest + FRAME))  # full messages: each costs
            for at in range(0, len(step.rows), piece):
                found.append(encode.step(self.family, step.name, step.do, step.rows[at : at + piece]))
        return found

    def _commit(self, units: list[list[bytes]]) -> None:
        for part in chunks(units, self.kernel.most):
            self.kernel.commit(part)

    def _settled(self, rendered: dict[ServiceKey, Rows], wanted: Rows) -> None:
        self._of = {key: rows for key, rows in rendered.items() if rows}
        self._shared = Counter(row for rows in rendered.values() for row in rows if row[0] in SHARED)
        self._total = len(wanted)

def _union(rendered: Mapping[ServiceKey, Rows]) -> Rows:
    every: Rows = {}
    for rows in rendered.values():
        every.update(rows)
    return every
