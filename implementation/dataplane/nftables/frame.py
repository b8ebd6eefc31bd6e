"""The frame of one family's table: chains, and the variants that lead to them. Rows are in it, not of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from implementation.dataplane.nftables import encode, layout, readback
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.kernel import Kernel, Refused
from implementation.dataplane.nftables.layout import TABLE
from implementation.dataplane.nftables.names import Target, led_by
from implementation.dataplane.nftables.netlink import Message
from implementation.dataplane.nftables.options import Options
from implementation.dataplane.nftables.readback import Found
from implementation.dataplane.nftables.shapes import Chain, Family
from implementation.dataplane.nftables.tables import Numbers

log = logging.getLogger("kube-proxy.nftables")


class Frame:
    """What of the frame is in the kernel; what it lacks comes as messages, in parts that must stay whole."""

    def __init__(self, kernel: Kernel, family: Family, options: Options, numbers: Numbers) -> None:
        self._kernel, self._family, self._options, self._numbers = kernel, family, options, numbers
        self._made: set[str] = set()  # chains in the kernel
        self._led: set[str] = set()  # those a variant leads to

    def whole(self, found: Found) -> list[list[bytes]]:
        """What makes the frame that was ``found`` into the wanted one."""
        targets = list(self._numbers.wanted.values())
        self._made, self._led = set(found.chains), set(found.variants)
        chains = layout.skeleton(self._family, self._options, targets)
        new = [target for target in targets if target.name not in self._led]
        return self._chains(readback.differing(found.chains, chains)) + self._variants(new)

    def missing(self) -> list[list[bytes]]:
        """The chains and variants of wanted targets that the kernel does not have yet."""
        new = [target for name, target in self._numbers.wanted.items() if name not in self._led]
        if not new:
            return []
        chains = {
            c.name: c for target in new for c in layout.target_chains(self._family, self._options, target)
        }
        missing = [chain for name, chain in chains.items() if name not in self._made]
        return self._chains(missing) + self._variants(new)

    def sweep(self, stale: Sequence[str]) -> None:
        """Remove variants nobody uses, then their chains; what is in use after all stays."""
        af = self._family.af
        frame, _ = nl.element_frame(4, 0)
        for name in stale:
            row = frame + nl.word(self._numbers.variants[name])
            self._kernel.commit(nl.lists(Message.DELSETELEM, af, TABLE, encode.map_of(name), [row]))
        for name in stale:
            del self._numbers.variants[name]
            self._led.discard(name)
        needed = layout.skeleton(self._family, self._options, list(self._numbers.wanted.values()))
        gone = sorted(self._made - set(needed), key=lambda name: name.startswith("pick_"))
        for name in gone:  # chains that lead to others first
            chain = nl.text(2, name)
            try:
                self._kernel.commit([
                    nl.message(Message.DELRULE, af, chain, table=TABLE),
                    nl.message(Message.DELCHAIN, af, nl.text(3, name), table=TABLE),
                ])  # fmt: skip
                self._made.discard(name)
            except Refused as error:
                log.debug("chain %s stays for now: %s", name, error)

    def _chains(self, chains: Sequence[Chain]) -> list[list[bytes]]:
        """Make chains, or put their right rules in the place of those they have; hooks come last."""
        made = [encode.chain_message(self._family, one) for one in chains if one.name not in self._made]
        rules: list[bytes] = []
        for one in chains:
            if one.name in self._made:
                rules.append(nl.message(Message.DELRULE, self._family.af, nl.text(2, one.name), table=TABLE))
            rules += encode.rule_messages(self._family, one)
        self._made |= {one.name for one in chains}
        return [made + rules] if chains else []

    def _variants(self, targets: Sequence[Target]) -> list[list[bytes]]:
        found = []
        for target in targets:
            number = nl.word(self._numbers.variants[target.name])
            row = nl.verdict_element(number, nl.Verdict.GOTO, target.name)
            found.append(nl.lists(Message.NEWSETELEM, self._family.af, TABLE, led_by(target), [row]))
        self._led |= {target.name for target in targets}
        return found
