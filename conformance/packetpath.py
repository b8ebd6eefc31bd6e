"""The path of one packet through netfilter, from the lines of ``nft monitor trace``. Pure.

Source: nft(8), "nft monitor trace"; the kernel traces each base chain with a line that holds the packet, each
rule that matched with its verdict, and the policy where a base chain ended by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from conformance.ruleset import Chain, Element, Where

_LINE = re.compile(r"trace id (\w+) (\w+) (\S+) (\S+) (packet:|rule|policy|verdict) ?(.*)")
_RULE = re.compile(r"(.*) \(verdict (\w+)(?: (\S+))?\)\s*")
_UNKNOWN = re.compile(r"unknown rule handle (\d+)")


@dataclass(frozen=True)
class Packet:
    """What a trace says of a packet."""

    source: str
    destination: str
    protocol: str
    sport: str
    dport: str
    ttl: int
    ip_id: str
    came_by: str = ""
    leaves_by: str = ""

    @classmethod
    def read(cls, text: str) -> Packet:
        """The packet in a trace's ``packet:`` line."""
        words = text.replace('"', "").split()
        said = {f"{a} {b}": c for a, b, c in zip(words, words[1:], words[2:], strict=False)}
        for name in ("iif", "oif"):
            said[name] = words[words.index(name) + 1] if name in words else ""
        ip = "ip6" if "ip6 saddr" in said else "ip"
        transport = next((one for one in ("tcp", "udp") if f"{one} dport" in said), "")
        return cls(
            said.get(f"{ip} saddr", "?"), said.get(f"{ip} daddr", "?"), transport,
            said.get(f"{transport} sport", ""), said.get(f"{transport} dport", ""),
            int(said.get("ip ttl") or said.get("ip6 hoplimit") or 0), said.get("ip id", ""),
            said["iif"], said["oif"],
        )

    @property
    def target(self) -> tuple[str, str]:
        """Address and port it goes to."""
        return self.destination, self.dport

    def fields(self) -> set[str]:
        """The words by which it can be looked up in a set."""
        return {self.source, self.destination, self.protocol, self.sport, self.dport} - {""}

    def __str__(self) -> str:
        return f"{join(self.source, self.sport)} → {join(self.destination, self.dport)}"


def join(address: str, port: str) -> str:
    """Address and port as one word."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True)
class Step:
    """One thing that happened to the packet: a rule that matched, a policy, or a hook that it came to."""

    node: str
    hook: str
    where: Where
    rule: str  # the rule's text; empty: a policy, or the hook itself
    verdict: str  # as the kernel says it: accept, drop, jump, goto, return, continue, queue, or hook
    target: str  # of a jump or goto
    packet: Packet
    path: tuple[int, ...] = ()  # steps (positions on this node) whose jumps led here, this one included

    @property
    def chain(self) -> str:
        """Table and chain."""
        return f"{self.where[1]} {self.where[2]}"


@dataclass
class _Reader:
    """Reads the trace of one node line by line."""

    node: str
    chains: Mapping[Where, Chain]
    own: str  # name of the table that only looks
    steps: list[Step] = field(default_factory=list)
    packet: Packet | None = None
    hook: str = ""
    stack: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)  # chain, the jumps that led there

    def line(self, where: Where, kind: str, text: str) -> None:
        """Take one line of the trace."""
        if kind == "packet:":
            self.packet = Packet.read(text)
            self.hook = self.chains[where].hook if where in self.chains else ""
            self.stack = [(where[2], ())]
            if where[1] == self.own:
                self._add(where, "", "hook", "")
        elif self.packet is None or where[1] == self.own:
            return  # the packet came before the trace, or it is our own rule, which only marks
        elif kind == "rule" and (match := _RULE.fullmatch(text)):
            self._rule(where, match[1].strip(), match[2], match[3] or "")
        elif kind == "policy" or text.strip() in {"accept", "drop"}:
            self._add(where, "", text.split(maxsplit=1)[0], "")

    def _rule(self, where: Where, text: str, verdict: str, target: str) -> None:
        if unknown := _UNKNOWN.match(text):
            rules = self.chains[where].rules if where in self.chains else {}
            text = rules.get(int(unknown[1]), text)
        names = [name for name, _led in self.stack]
        if where[2] in names:  # a chain that ends by itself says nothing; the next line tells who goes on
            del self.stack[names.index(where[2]) + 1:]
        self._add(where, text, verdict, target)
        if verdict in {"jump", "goto"}:
            if verdict == "goto":
                self.stack.pop()
            self.stack.append((target, self.steps[-1].path))

    def _add(self, where: Where, rule: str, verdict: str, target: str) -> None:
        assert self.packet is not None
        led = self.stack[-1][1] if self.stack else ()
        self.steps.append(Step(self.node, self.hook, where, rule, verdict, target, self.packet,
                               (*led, len(self.steps))))


def read(
    node: str, lines: Iterable[str], chains: Mapping[Where, Chain], *, own: str, mark: str,
) -> list[Step]:
    """The steps of the first packet with ``mark`` in its header that ``lines`` trace on ``node``; table
    ``own`` only looks.
    """
    reader = _Reader(node, chains, own)
    first = ""
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        _trace, family, table, chain, kind, text = match.groups()
        if kind == "packet:":
            number = Packet.read(text).ip_id
            first = first or number
            if mark not in text or number != first:  # another packet, such as one that was sent again
                break
        reader.line((family, table, chain), kind, text)
    return reader.steps


def in_order(nodes: Iterable[Sequence[Step]]) -> list[Step]:
    """The steps of all nodes in the packet's own order: each hop takes one from its time to live."""
    seen = [steps for steps in nodes if steps]
    ordered = sorted(seen, key=lambda one: (-one[0].packet.ttl, one[0].hook != "output"))
    return [step for steps in ordered for step in steps]


def decision(steps: Sequence[Step]) -> list[Step]:
    """The rules by whose jumps the packet first got another destination, or its end; none when neither."""
    for number, step in enumerate(steps):
        mine = [one for one in steps if one.node == step.node]
        after = next((one for one in steps[number + 1:] if one.packet is not step.packet), None)
        changed = after is not None and after.packet.target != step.packet.target
        if step.rule and (step.verdict == "drop" or (changed and step.verdict == "accept")):
            return [mine[position] for position in step.path]
    return []


@dataclass(frozen=True)
class Seen:
    """What one node told: the steps there, its chains, and the elements of the sets that rules named."""

    steps: list[Step]
    chains: Mapping[Where, Chain]
    sets: Mapping[str, list[Element]]  # by family, table and name
    legacy: tuple[str, ...]  # tables of iptables-legacy, whose rules are not traced


@dataclass(frozen=True)
class Followed:
    """A connection as its sender and the nodes saw it."""

    outcome: str
    ms: float
    seen: Mapping[str, Seen]

    @property
    def steps(self) -> list[Step]:
        """All steps in the packet's order."""
        return in_order(one.steps for one in self.seen.values())
