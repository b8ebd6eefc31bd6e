"""Mode iptables: a chain for every Service port and endpoint, as kube-proxy writes them.

``names`` hashes, ``chains`` gives the rules of one Service port, ``layout`` those of all together,
``restore`` the difference as text, ``tool`` runs the programs. :class:`Iptables` joins them.
"""

from __future__ import annotations

import time

from implementation.dataplane import Applied, DataplaneError, Part, Where
from implementation.dataplane.iptables import chains, layout, restore
from implementation.dataplane.iptables.chains import Pieces
from implementation.dataplane.iptables.layout import Ruleset
from implementation.dataplane.iptables.options import Options
from implementation.dataplane.iptables.tool import Tool, TooLong, Variant
from implementation.state.desired import Desired, ServedService, ServiceKey

RULES_A_COMMIT = 250  # a socket of 208 KiB, all that is had without root's rights, took 600 (measured)
LARGE_CLUSTER = 1000  # endpoints; above, rules of endpoints carry no comment (upstream's bound)


class Iptables:
    """The data plane in mode iptables, both families; IPv6 is touched once something needs it."""

    def __init__(self, options: Options, variant: Variant = Variant.NFT) -> None:
        self._options = options
        self._families = {4: _Family(Tool(4, variant), options)}
        self._variant = variant
        self._cache: dict[ServiceKey, tuple[ServedService, bool, dict[int, list[Pieces]]]] = {}
        self._untold: set[ServiceKey] = set()  # changed in an apply that failed

    def apply(self, desired: Desired) -> Applied:
        """See :meth:`implementation.dataplane.Dataplane.apply`."""
        self._untold.update(self._render(desired))
        self._open_families(desired)
        parts = tuple(
            family.apply(self._pieces(number), desired.node_port_addresses)
            for number, family in self._families.items()
        )
        changed, self._untold = tuple(sorted(self._untold)), set()
        return Applied(parts, changed)

    def forget(self) -> None:
        """See :meth:`implementation.dataplane.Dataplane.forget`."""
        for family in self._families.values():
            family.written = None

    def intact(self) -> bool:
        """True while the canaries and one chain behind each jump are as they were written."""
        return all(family.intact() for family in self._families.values())

    def inherited(self) -> dict[int, frozenset[Where]]:
        """See :class:`implementation.dataplane.Inheriting`."""
        return {number: self._family(number).before() for number in (4, 6)}

    def left(self) -> bool:
        """See :class:`implementation.dataplane.Inheriting`."""
        return any(":KUBE-SERVICES " in Tool(number, self._variant).save() for number in (4, 6))

    def _family(self, number: int) -> _Family:
        return self._families.get(number) or _Family(Tool(number, self._variant), self._options)

    def cleanup(self) -> None:
        """Remove jumps and chains of both families. KUBE-MARK-MASQ and KUBE-FIREWALL stay: kubelet uses
        them too."""
        for number in (4, 6):
            self._family(number).cleanup()

    def _render(self, desired: Desired) -> tuple[ServiceKey, ...]:
        """Bring the cached rules of every Service up to date; gives the keys of those that changed."""
        services = desired.services
        endpoints = sum(len(port.reachable) for service in services.values() for port in service.ports)
        speaking = endpoints <= LARGE_CLUSTER
        changed = [key for key in self._cache if key not in services]
        for key in changed:
            del self._cache[key]
        for key, served in services.items():
            known = self._cache.get(key)
            if known is None or known[1] != speaking or known[0] != served:
                self._cache[key] = (served, speaking, _by_family(served, self._options, speaking=speaking))
                changed.append(key)
        return tuple(changed)

    def _pieces(self, family: int) -> list[Pieces]:
        return [piece for key in sorted(self._cache) for piece in self._cache[key][2].get(family, ())]

    def _open_families(self, desired: Desired) -> None:
        if 6 in self._families:
            return
        needed = any(port.family == 6 for service in desired.services.values() for port in service.ports)
        if needed or (self._families[4].inherited is None and self._left_behind()):
            self._families[6] = _Family(Tool(6, self._variant), self._options)

    def _left_behind(self) -> bool:
        """True when a predecessor left rules for IPv6; a host that cannot have any has none."""
        try:
            return ":KUBE-SERVICES " in Tool(6, self._variant).save()
        except DataplaneError:
            return False


def _by_family(served: ServedService, options: Options, *, speaking: bool) -> dict[int, list[Pieces]]:
    found: dict[int, list[Pieces]] = {}
    for port in served.ports:
        found.setdefault(port.family, []).append(chains.pieces(port, options, speaking=speaking))
    return found


class _Family:
    """The rules of one family as last written; ``written`` is None where nothing is known."""

    def __init__(self, tool: Tool, options: Options) -> None:
        self.tool = tool
        self.options = options
        self.written: Ruleset | None = None
        self.inherited: frozenset[Where] | None = None
        self.most = 0  # rules a commit may hold; 0 while nobody said that one was too long

    def apply(self, pieces: list[Pieces], addresses: tuple[str, ...] | None) -> Part:
        start = time.monotonic()
        wanted = layout.ruleset(pieces, self.tool.family, self.options, addresses)
        old, self.written = self.written, None  # unknown until the tool has said yes
        stale, jumps = ([], []) if old is not None else self._left_over(wanted)
        change = restore.difference(old, wanted, stale=stale, jumps=jumps, most=self.most)
        try:
            self.tool.restore(change.text)
        except TooLong:
            self.most = RULES_A_COMMIT
            self.tool.restore(restore.difference(old, wanted, stale=stale, jumps=jumps, most=self.most).text)
        self.written = wanted
        tables = {
            table: (layout.count(chains), change.written.get(table, 0)) for table, chains in wanted.items()
        }
        return Part(self.tool.family, old is None, time.monotonic() - start, tables)

    def _left_over(self, wanted: Ruleset) -> tuple[list[str], list[layout.Jump]]:
        """What is to be removed and what is missing, by what the kernel holds now."""
        saved = restore.read(self.tool.save())
        self.before(saved)
        jumps = layout.jumps(self.tool.family, self.options)
        return restore.stale_chains(saved, wanted["nat"]), restore.missing_jumps(saved, jumps)

    def before(self, saved: dict[str, dict[str, list[str]]] | None = None) -> frozenset[Where]:
        """Where UDP clients could send to before the first apply."""
        if self.inherited is None:
            self.inherited = restore.udp_frontends(saved or restore.read(self.tool.save()))
        return self.inherited

    def intact(self) -> bool:
        if self.written is None:
            return True
        for table, chain in (
            ("nat", "KUBE-MARK-MASQ"),
            ("filter", "KUBE-FORWARD"),
            ("mangle", layout.CANARY),
        ):
            rules = self.tool.lists(table, chain)
            if rules is None or len(rules) != len(self.written[table][chain]):
                return False
        heads = {(jump.table, jump.chain) for jump in layout.jumps(self.tool.family, self.options)}
        there: dict[str, dict[str, list[str]]] = {}
        for table, chain in heads:
            listed = self.tool.lists(table, chain) or []
            there.setdefault(table, {})[chain] = (
                restore.read("*t\n" + "\n".join(listed)).get("t", {}).get(chain, [])
            )
        return not restore.missing_jumps(there, layout.jumps(self.tool.family, self.options))

    def cleanup(self) -> None:
        saved = restore.read(self.tool.save())
        kept = {"KUBE-MARK-MASQ", "KUBE-FIREWALL"}
        ours = layout.ruleset([], self.tool.family, self.options, None)
        mine = {table: [name for name in chains if name not in kept] for table, chains in ours.items()}
        jumps = [j for j in layout.jumps(self.tool.family, self.options) if "KUBE-FIREWALL" not in j.rule]
        self.tool.restore(restore.removal(saved, jumps, mine))
        self.written = None
