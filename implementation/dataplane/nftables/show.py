"""Prints what the kernel serves in mode nftables, in plain words: ``python -m implementation.cli show
[WORD]``.

``nft list ruleset`` prints the rows, but not which row belongs to which and what a variant means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from socket import inet_ntop

from implementation.dataplane import DataplaneError
from implementation.dataplane.nftables import readback
from implementation.dataplane.nftables.kernel import Kernel
from implementation.dataplane.nftables.names import LOCAL_ROWS
from implementation.dataplane.nftables.netlink import Element, unword, word
from implementation.dataplane.nftables.readback import Found
from implementation.dataplane.nftables.shapes import Family
from implementation.dataplane.nftables.tables import LEAD, PROTOCOLS

_NAMES = {number: name for name, number in PROTOCOLS.items()}
_SAID = {
    "inside": "masqueraded unless from pods",
    "outside": "masqueraded",
    "keep": "the client's address is kept; pods and this node may use all endpoints",
}


def lines(family: Family, found: Found, affinity: Sequence[Element], word_in: str = "") -> Iterator[str]:
    """A line for each address and port that is served or refused, and one for each client that is remembered
    there; only those whose first line holds ``word_in``."""
    chains = {number: name for name, number in found.variants.items()}
    for name, key in sorted(found.rows):
        if name in ("svc", "nodeports", "noep", "noep_nodeports"):
            value = found.rows[name, key]
            chain = chains.get(unword(value[4:LEAD]), "")
            where = _where(family, key, node_port="nodeports" in name)
            first = f"{value[LEAD:].decode()}  {where}  {_fate(family, found, name, key, chain)}"
            if word_in in first:
                yield first
                yield from _clients(family, found, _full(family, name, key), chain, affinity)


def _full(family: Family, name: str, key: bytes) -> bytes:
    """The key in the maps of endpoints, where node ports have the address zero."""
    return bytes(family.size) + key if "nodeports" in name else key


def _where(family: Family, key: bytes, *, node_port: bool) -> str:
    tail = key if node_port else key[family.size :]
    address = "node port" if node_port else _address(family, key[: family.size])
    return f"{address} {_NAMES.get(tail[0], tail[0])} {int.from_bytes(tail[4:6], 'big')}"


def _address(family: Family, data: bytes) -> str:
    return inet_ntop(family.af, data)


def _target(family: Family, data: bytes) -> str:
    shown = _address(family, data[: family.size])
    shown = f"[{shown}]" if family.number == 6 else shown
    return f"{shown}:{int.from_bytes(data[family.size : family.size + 2], 'big')}"


def _fate(family: Family, found: Found, name: str, key: bytes, chain: str) -> str:
    if name.startswith("noep"):
        return "refused: no endpoints" if chain == "reject" else "dropped: no endpoint on this node"
    sort = chain.split("_", 1)[0]
    full = _full(family, name, key)
    parts = []
    if sort == "keep" or not _is_local(chain):
        parts.append("-> " + ", ".join(_endpoints(family, found, full, chain, local=False)))
    if sort == "keep" or _is_local(chain):
        here = ", ".join(_endpoints(family, found, full, chain, local=True))
        parts.append(f"{'others ' if sort == 'keep' else ''}-> on this node: {here or 'nobody'}")
    if "_aff" in chain:
        parts.append(f"a client stays for {chain.split('_aff')[1].split('_', maxsplit=1)[0]} s")
    if ("ranged", full) in found.rows:
        parts.append("open to " + ", ".join(_sources(family, found, full)))
    return "; ".join([*parts, _SAID.get(sort, "")])


def _is_local(chain: str) -> bool:
    return "_local" in chain


def _endpoints(family: Family, found: Found, full: bytes, chain: str, *, local: bool) -> Iterator[str]:
    name, prefix, pad = "endpoints", full, 0
    if "_aff" in chain:
        number = found.rows.get(("aff_local_ids" if local else "aff_ids", full))
        if number is None:
            return
        name, prefix, pad = "aff_endpoints", number[4:], 4
    index = LOCAL_ROWS if local else 0
    while (row := found.rows.get((name, prefix + word(index)))) is not None:
        yield _target(family, row[pad:])
        index += 1


def _sources(family: Family, found: Found, full: bytes) -> Iterator[str]:
    for name, key in sorted(found.rows):
        if name == "allowed" and key.startswith(full):
            rest = key[len(full) :]
            yield f"{_address(family, rest[: family.size])}/{unword(rest[family.size :])}"


def _clients(
    family: Family, found: Found, full: bytes, chain: str, affinity: Sequence[Element]
) -> Iterator[str]:
    if "_aff" not in chain:
        return
    numbers = {
        found.rows[row][4:] for row in (("aff_ids", full), ("aff_local_ids", full)) if row in found.rows
    }
    for one in affinity:
        if one.key[family.size :] in numbers:
            client, at = _address(family, one.key[: family.size]), _target(family, one.value[4:])
            yield f"    client {client} stays with {at} for another {one.left / 1000:.0f} s"


def main(args: Sequence[str]) -> int:
    """Print all, or what has the given word in its line; 1 when nothing of this mode is in the kernel."""
    if len(args) > 1:
        print("usage: show [SERVICE, ADDRESS or any other word of a line]")
        return 2
    try:
        kernel, any_table = Kernel(), False
        for family in (Family(4), Family(6)):
            found = readback.read(kernel, family)
            if found is not None:
                any_table = True
                remembered = readback.elements(kernel, family, "affinity")
                for line in lines(family, found, remembered, args[0] if args else ""):
                    print(line)
    except DataplaneError as error:
        print(f"show: {error}")
        return 1
    if not any_table:
        print("nothing of mode nftables is in the kernel of this network namespace")
    return 0 if any_table else 1
