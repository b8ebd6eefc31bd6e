"""nftables rules as `nft list` prints them, and what one rule says in words. Pure.

Rules of iptables-nft are in these tables, too. Source: nft(8), and the ruleset statement of its grammar.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Where = tuple[str, str, str]  # family, table, chain
_TABLE = re.compile(r"table (\w+) (\S+) \{")
_CHAIN = re.compile(r"\tchain (\S+) \{")
_HOOK = re.compile(r"\t\ttype \w+ hook (\w+) ")
_HANDLE = re.compile(r" # handle (\d+)$")
_NOISE = re.compile(r"\bcounter(?: packets \d+ bytes \d+)?|\bmeta nftrace set 1\b")
_COMMENT = re.compile(r' comment "((?:[^"\\]|\\.)*)"')
_NAMED = re.compile(r"@([A-Za-z_][\w/.-]*)")
_RANDOM = re.compile(r"meta random & 2147483647 < (\d+)")
_VERDICT = re.compile(r"\b(?:jump|goto) \S+|\b(?:accept|drop|return|continue)\b")
_ACTION = re.compile(r"(?<!status )\b(?:dnat|snat|masquerade|redirect|reject|queue)\b.*|"
                     r"\S+ mark set .*|xt target .*|"
                     r"(?:(?:ip6?|meta|ct|th|tcp|udp) \w+(?: \. )?)+ vmap (?:@\S+|\{.*\})")
# A field that is part of a longer key (``ip saddr . tcp dport``) says nothing by itself.
_ADDRESS = re.compile(r"(?<!\. )ip6? (saddr|daddr) (!= )?(@\S+|\{[^}]*\}|[\da-fA-F]*[.:][\da-fA-F][^ ]*)")
_PORT = re.compile(r"(?<!\. )(tcp|udp|th) (sport|dport) (!= )?(\{[^}]*\}|@\S+|\w[\w-]*)(?! \.)")
_CHANGE = re.compile(r"\b(?:add|update|delete) @\S+ \{[^}]*\}")
_PROTOCOL = re.compile(r"meta l4proto (\S+)")
_STATISTIC = 2147483648  # iptables' statistic match draws from 0 … 2³¹ - 1


@dataclass(frozen=True)
class Chain:
    """A chain: its hook where it is a base chain, and its rules by handle, in their order."""

    hook: str
    rules: Mapping[int, str]


def chains(listing: str) -> dict[Where, Chain]:
    """The chains in the text of ``nft -a list ruleset``."""
    found: dict[Where, tuple[str, dict[int, str]]] = {}
    family = table = ""
    here: Where | None = None
    for line in listing.splitlines():
        handle = _HANDLE.search(line)
        text = line[:handle.start()] if handle else line
        if match := _TABLE.match(line):
            family, table = match.groups()
        elif match := _CHAIN.match(line):
            here = (family, table, match[1])
            found[here] = ("", {})
        elif line == "\t}":
            here = None
        elif here and (match := _HOOK.match(line)):
            found[here] = (match[1], found[here][1])
        elif here and handle:
            found[here][1][int(handle[1])] = text.strip()
    return {where: Chain(hook, rules) for where, (hook, rules) in found.items()}


@dataclass(frozen=True)
class Rule:
    """One rule in words: whom it matches, what it does, and its comment."""

    source: str
    destination: str
    rest: str
    action: str
    comment: str

    @property
    def matched(self) -> str:
        """Source, destination and whatever else it asks for, as the post's table says it."""
        return f"Source: {self.source}  Destination: {self.destination}  {self.rest}".rstrip()


def read(text: str, names: Mapping[str, str]) -> Rule:
    """What rule ``text`` says; ``names`` has words for addresses. What is not understood stays as it is."""
    comment = _COMMENT.search(text)
    left = _VERDICT.sub("", _NOISE.sub("", _COMMENT.sub("", text)))
    action = found[0] if (found := _ACTION.search(left)) else ""
    left = left.replace(action, "", 1) if action else left
    changes, left = _CHANGE.findall(left), _CHANGE.sub("", left)
    ends = {"saddr": "ANY", "daddr": "ANY"}
    for end, negated, value in _ADDRESS.findall(left):
        named = f"{value} ({names[value]})" if value in names else value
        ends[end] = f"not {named}" if negated else named
    left = _ADDRESS.sub("", left)
    for protocol, end, negated, value in _PORT.findall(left):
        side = "saddr" if end == "sport" else "daddr"
        ends[side] += f" {'not ' if negated else ''}{'' if protocol == 'th' else protocol + ' '}port {value}"
    left = _PORT.sub("", left)
    if "port" not in ends["daddr"] and (match := _PROTOCOL.search(left)):
        ends["daddr"] += f" {match[1]}"
    left = _PROTOCOL.sub("", left)
    left = _RANDOM.sub(lambda drawn: f"at random {int(drawn[1]) / _STATISTIC:.0%}", left)
    rest = " ".join(" ".join([left, *changes]).split())
    return Rule(ends["saddr"], ends["daddr"], rest, " ".join(action.split()), comment[1] if comment else "")


def plain(text: str) -> str:
    """A rule's text without its counters."""
    return " ".join(_NOISE.sub("", text).split())


def named(text: str) -> list[str]:
    """The names of the sets and maps that a rule looks into, those of its comment included."""
    return list(dict.fromkeys(_NAMED.findall(text)))


def chances(chain: Chain) -> dict[str, float]:
    """The targets that a chain takes at random, each with its probability; none when it does not draw."""
    left, found = 1.0, dict[str, float]()
    if not any(_RANDOM.search(text) for text in chain.rules.values()):
        return {}
    for text in chain.rules.values():
        drawn = _RANDOM.search(text)
        target = re.search(r"\b(?:jump|goto) (\S+)", text)
        if target and (drawn or text.split()[0] in {"jump", "goto", "counter"}):
            share = left * (int(drawn[1]) / _STATISTIC if drawn else 1.0)
            found[target[1]], left = share, left - share
    return found


@dataclass(frozen=True)
class Element:
    """One element of a set (no data) or of a map."""

    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    comment: str = ""

    def __str__(self) -> str:
        said = " . ".join(self.key) + (f" : {' . '.join(self.data)}" if self.data else "")
        return said + (f' "{self.comment}"' if self.comment else "")


def elements(listing: Mapping[str, Any]) -> list[Element]:
    """The elements of the sets and maps in the JSON of ``nft -j list set`` or ``list map``."""
    found = []
    for entry in listing.get("nftables", ()):
        for kind in ("map", "set"):
            for one in (entry.get(kind) or {}).get("elem") or ():
                key, data = one if kind == "map" else (one, None)
                about = key.get("elem", {}) if isinstance(key, dict) else {}
                found.append(Element(_parts(about.get("val", key)), _parts(data), about.get("comment", "")))
    return found


def _parts(value: Any) -> tuple[str, ...]:
    """One side of an element as words: addresses, numbers, a verdict."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        return (str(value),)
    (kind, inside), *_more = value.items()
    if kind == "concat":
        return tuple(word for part in inside for word in _parts(part))
    if kind == "prefix":
        return (f"{inside['addr']}/{inside['len']}",)
    if kind == "range":
        return ("-".join(map(str, inside)),)
    return (f"{kind} {inside['target']}",) if isinstance(inside, dict) and "target" in inside else (kind,)


def looked_up(
    found: Iterable[Element], fields: Collection[str], result: Collection[str],
) -> list[Element]:
    """The elements a packet can have met: some word of the key is among its ``fields``, and no address or
    protocol in it is another's; where the ``result`` of the look-up is known, the data is just that.
    """
    met = []
    for one in found:
        fits = all(word in fields or not _telling(word) for word in one.key)
        known = any(word in fields for word in one.key) or bool(one.data and set(one.data) <= set(result))
        if fits and known and (not result or not one.data or set(one.data) <= set(result)):
            met.append(one)
    return met


def _telling(word: str) -> bool:
    """Whether a word of a key would have to be the packet's: an address, or a protocol."""
    return word != "0.0.0.0" and ("." in word or ":" in word or word in {"tcp", "udp", "sctp"})
