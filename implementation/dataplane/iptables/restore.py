"""Rulesets as text for iptables-restore: the difference to what was written last, and the reading of what
is there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from implementation.dataplane.iptables.layout import Chains, Jump, Ruleset
from implementation.dataplane.iptables.names import OWNED_PREFIXES

TABLES = ("filter", "nat", "mangle")


class Change(msgspec.Struct, frozen=True):
    """One input for iptables-restore, empty where nothing has to change; ``written`` counts its rules by
    table."""

    text: str
    written: dict[str, int]


def difference(
    old: Ruleset | None,
    new: Ruleset,
    *,
    stale: Sequence[str] = (),
    jumps: Sequence[Jump] = (),
    most: int = 0,
) -> Change:
    """What makes ``new`` of ``old``; with ``old`` None everything is written.

    A chain line empties exactly that chain, so only chains whose rules differ are written. ``stale`` are
    further nat chains to remove, ``jumps`` are rules to put in front of built-in chains. ``most`` is how
    many rules one commit may hold (0: any number, each table in one step); see :func:`_steps`.
    """
    tables: dict[str, list[str]] = {}
    written: dict[str, int] = {}
    for table in TABLES:
        before = {} if old is None else old.get(table, {})
        chains = new.get(table, {})
        changed = [name for name, lines in chains.items() if before.get(name) != lines]
        gone = [name for name in before if name not in chains]
        gone += [name for name in stale if table == "nat" and name not in chains and name not in before]
        mine = [jump for jump in jumps if jump.table == table]
        if changed or gone or mine:
            steps = _steps(chains, changed, gone, most)
            tables[table] = [line for step in steps for line in _table(table, chains, *step)]
            if mine:
                tables[table] += [f"*{table}", *(f"-I {jump.chain} {jump.rule}" for jump in mine), "COMMIT"]
            written[table] = sum(len(chains[name]) for name in changed) + len(mine)
    order = [table for table in _order(old, new) if table in tables]
    return Change("".join(line + "\n" for table in order for line in tables[table]), written)


def _steps(
    chains: Chains, changed: Sequence[str], gone: Sequence[str], most: int
) -> Iterator[tuple[list[str], list[str]]]:
    """The chains to write and to remove in each commit of one table.

    With a bound, chains that are led to come before those that lead there, and go after them, so the rules
    are right after every step; only a chain that is above the bound by itself makes a step larger.
    """
    if not most:
        yield list(changed), list(gone)
        return
    step: list[str] = []
    size = 0
    for name in sorted(changed, key=_depth):
        if step and size + len(chains[name]) >= most:
            yield step, []
            step, size = [], 0
        step.append(name)
        size += 1 + len(chains[name])
    if step:
        yield step, []
    order = sorted(gone, key=_depth, reverse=True)
    for start in range(0, len(order), most):
        yield [], order[start : start + most]


def _depth(chain: str) -> int:
    """How far from the endpoints a chain stands: it only leads to chains of lower numbers."""
    order = ("KUBE-MARK-", "KUBE-SEP-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-NODEPORTS")
    return next((depth for depth, prefix in enumerate(order) if chain.startswith(prefix)), len(order))


def _table(table: str, chains: Chains, changed: Sequence[str], gone: Sequence[str]) -> Iterator[str]:
    if not changed and not gone:
        return
    yield f"*{table}"
    for name in (*changed, *gone):
        yield f":{name} - [0:0]"
    for name in changed:
        for rule in chains[name]:
            yield f"-A {name} {rule}"
    for name in gone:
        yield f"-X {name}"
    yield "COMMIT"


def _order(old: Ruleset | None, new: Ruleset) -> tuple[str, ...]:
    """The order in which tables are committed, each of which is one step for packets.

    Refusals (filter) come in before the way to the endpoints (nat) goes, and go after it has come: in
    between a packet then meets both, and never neither.
    """
    if old is None:
        return TABLES
    before = {(chain, rule) for chain, rules in old["filter"].items() for rule in rules}
    gains = any((chain, rule) not in before for chain, rules in new["filter"].items() for rule in rules)
    return TABLES if gains else ("nat", "filter", "mangle")


Saved = dict[str, dict[str, list[str]]]


def read(text: str) -> Saved:
    """Tables, chains and rules of an iptables-save; a rule is the text behind ``-A CHAIN ``."""
    saved: Saved = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = saved.setdefault(line[1:].strip(), {})
        elif line.startswith(":"):
            chains.setdefault(line[1:].split(" ", 1)[0], [])
        elif line.startswith("-A "):
            _, chain, *rest = line.split(" ", 2)
            chains.setdefault(chain, []).append(rest[0] if rest else "")
    return saved


def missing_jumps(saved: Saved, wanted: Sequence[Jump]) -> list[Jump]:
    """The jumps that are not there, in the order in which they are to be put in front."""
    return [jump for jump in wanted if jump.rule not in saved.get(jump.table, {}).get(jump.chain, ())]


def stale_chains(saved: Saved, active: Mapping[str, object]) -> list[str]:
    """Chains of Service ports in nat that an earlier run left and nobody needs.

    One that a foreign rule still leads to stays: removing it is impossible and would fail the whole input.
    """
    nat = saved.get("nat", {})
    left = [name for name in nat if name.startswith(OWNED_PREFIXES) and name not in active]
    foreign = {
        target
        for chain, rules in nat.items()
        if not chain.startswith("KUBE-")
        for rule in rules
        for target in rule.split(" ")[-1:]
    }
    return [name for name in left if name not in foreign]


def removal(saved: Saved, jumps: Sequence[Jump], chains: Mapping[str, Sequence[str]]) -> str:
    """The input that takes away these jumps and chains, as far as they are there, and all chains of Service
    ports."""
    lines: list[str] = []
    for table in TABLES:
        there = saved.get(table, {})
        drops = [j for j in jumps if j.table == table and j.rule in there.get(j.chain, ())]
        gone = [name for name in chains.get(table, ()) if name in there]
        gone += stale_chains(saved, {}) if table == "nat" else []
        if drops or gone:
            lines += [
                f"*{table}",
                *(f":{name} - [0:0]" for name in gone),
                *(f"-D {j.chain} {j.rule}" for j in drops),
            ]
            lines += [*(f"-X {name}" for name in gone), "COMMIT"]
    return "".join(line + "\n" for line in lines)


def udp_frontends(saved: Mapping[str, Mapping[str, Sequence[str]]]) -> frozenset[tuple[str, int]]:
    """Where UDP clients can send to by these rules; an empty address is any of this node's."""
    found = set()
    for chain in ("KUBE-SERVICES", "KUBE-NODEPORTS"):
        for rule in saved.get("nat", {}).get(chain, ()):
            port, to = re.search(r"-p udp .*--dport (\d+)", rule), re.search(r"-d ([0-9a-f.:]+)/", rule)
            if port and (to or chain == "KUBE-NODEPORTS"):
                found.add((to[1] if to else "", int(port[1])))
    return frozenset(found)
