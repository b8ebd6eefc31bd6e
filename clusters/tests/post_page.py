"""The page of the post, read: its commands in order, and what must come; and the comparison of both. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "post" / "README.md"
NOTHING, SAME = "nothing", "the same"
_ROW = re.compile(r"\| (\d+) \| (\w+) \| (.*?) \| (.*?) \| (.*?) ?\|")
_BLOCK = re.compile(r"^```console (\d+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY = {"AGE", "DURATION", "RESTARTS"}  # columns that nobody can repeat
_MADE_UP = re.compile(r"^((?:pod|replicaset\.apps)/[a-z-]+?)-(?:[a-z0-9]{8,10}(?:-[a-z0-9]{5})?|\w{5})$")
_PROTOCOLS = {"0": "all", "6": "tcp", "17": "udp"}
_LEFT_OUT = "<...>"
_STEP = re.compile(r"[1-4]\.\s+[A-Z-]+[A-Z0-9]*\s|Delivered|Refused|Dropped|Lost")


@dataclass(frozen=True)
class Line:
    """One line of the table: ``typed`` is empty where nothing is typed here, ``expected`` what must come."""

    number: int
    at: str
    post: str
    typed: str
    why: str
    expected: str


def read(text: str) -> list[Line]:
    """The lines of the page's table with the blocks of their numbers."""
    blocks = {int(number): block for number, block in _BLOCK.findall(text)}
    found = []
    for line in text.splitlines():
        if not (row := _ROW.fullmatch(line.replace("\\|", "\0"))):
            continue
        number, at, post, typed, why = (word.replace("\0", "|").strip() for word in row.groups())
        post, typed = post.strip("`"), typed.strip("`")
        typed = {NOTHING: "", SAME: post}.get(typed, typed)
        found.append(Line(int(number), at, post, typed, why, blocks.pop(int(number), "")))
    assert not blocks, f"outputs of no line of the table: {sorted(blocks)}"
    return found


def differs(expected: str, came: str) -> str:
    """Empty when what came is what must come; else a sentence that shows both."""
    if expected.startswith("NAME"):
        wanted, seen = tables(expected), tables(came)
    elif "Chain " in expected:
        wanted, seen = chains(expected), chains(came)
        seen = {name: [rule for rule in seen.get(name, ()) if rule in rules]
                for name, rules in wanted.items()}
    elif "KUBE-" in expected:
        wanted, seen = _traced(expected), _traced(came)
    elif _LEFT_OUT in expected:
        wanted = [line for line in _words(expected) if line != _LEFT_OUT]
        seen = [line for line in _words(came) if line in wanted]
    else:
        wanted, seen = _words(expected), _words(came)
    return "" if wanted == seen else f"must come:\n{expected}\ncame:\n{came}\nread as {wanted}\nand {seen}"


def tables(text: str) -> list[tuple[tuple[str, ...], Counter[tuple[str, ...]]]]:
    """kubectl's tables: the headings of each, and its rows without what nobody can repeat."""
    found = []
    for part in re.split(r"\n\s*\n", text.strip()):
        heading, *rows = part.splitlines()
        starts = [match.start() for match in re.finditer(r"\S+(?: \S+)*", heading)]
        names = tuple(_cells(heading, starts))
        made = Counter(
            tuple("*" if name in _ANY else _MADE_UP.sub(r"\1-*", cell)
                  for name, cell in zip(names, _cells(row, starts), strict=True))
            for row in rows)
        found.append((names, made))
    return found


def _cells(line: str, starts: Sequence[int]) -> list[str]:
    return [line[start:end].strip() for start, end in zip(starts, [*starts[1:], len(line) + 1], strict=True)]


def chains(text: str) -> dict[str, list[str]]:
    """The rules of each chain in ``iptables -L -v``, without counters and with protocols by name."""
    found: dict[str, list[str]] = {}
    rules: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if line.startswith("Chain "):
            rules = found.setdefault(words[1], [])
        elif len(words) > 8 and words[0] != "pkts":
            rules.append(" ".join([words[2], _PROTOCOLS.get(words[3], words[3]), *words[4:]]))
    return found


def _traced(text: str) -> list[str]:
    """The four steps and the end of a trace; which of the two pods it was is drawn by lot."""
    kept = [re.sub(r"\s+", " ", line) for line in text.splitlines() if _STEP.match(line)]
    other = {"KUBE-SEP-REGCNUNS5RWEMTHB": "SEP", "KUBE-SEP-AB7UW27KCQCMC3UG": "SEP", "10.42.0.85:80": "POD",
             "10.42.1.170:80": "POD", "k3s-master-rpi001": "NODE", "k3s-worker-rpi002": "NODE",
             " at random 50%": ""}
    said = "\n".join(kept[:4] + kept[-1:])
    for word, meant in other.items():
        said = said.replace(word, meant)
    return re.sub(r"nextcloud-dev-\w+-\w{5}", "nextcloud-dev-*", said).splitlines()


def _words(text: str) -> list[str]:
    """Lines as they are, but for a terminal's own doing, warnings, today's words and curl's speed."""
    found = []
    for line in text.replace("\r\n", "\n").split("\n"):
        last = line.rstrip().rsplit("\r", 1)[-1].rstrip()
        if last.startswith("Warning: ") or not last:
            continue
        if meter := re.match(r"\s*100\s+(\d+)\s+100\s+(\d+)\s+0\s+0\s", last):
            last = f"100 {meter[1]} 100 {meter[2]}"
        found.append(re.sub(r" deleted from \S+ namespace$", " deleted", last))
    return found
