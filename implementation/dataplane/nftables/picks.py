"""The shared chains that take an endpoint's row, or judge a source.

Every lookup sees one state of the tables, but two lookups of one packet may see two: a packet may arrive with
the old number of endpoints when the last row is gone already. So the rule behind the random one takes
the first
row, which stays as long as there is any endpoint; only then is the packet dropped.
"""

from __future__ import annotations

from implementation.dataplane.nftables import expressions as ex
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables.names import Pick, Sources
from implementation.dataplane.nftables.netlink import Verdict
from implementation.dataplane.nftables.shapes import Chain, Family

LAST = ("no endpoint's row", ex.verdict(Verdict.DROP))


def pick(family: Family, one: Pick) -> Chain:
    """The chain that rewrites the destination to one of the endpoints, all equally likely."""
    rules = _with_affinity(family, one) if one.affinity else _without(family, one)
    return Chain(one.name, (*rules, LAST))


def key(family: Family, one: Pick, into: int) -> bytes:
    """Load a Service port's key; rows of node ports have the address zero."""
    if not one.node_port:
        return family.key(into)
    return ex.immediate(into, bytes(family.size)) + family.port(into + family.words)


def _without(family: Family, one: Pick) -> list[tuple[str, bytes]]:
    words = family.words

    def choose(count: int) -> bytes:
        dice = ex.random(words + 2, count, one.start)
        row = ex.lookup("endpoints", 0, 0)
        return nl.join((key(family, one, 0), dice, row, ex.dnat(family.af, 0, words)))

    rules = [("one of the endpoints", choose(one.count))]
    return rules if one.count == 1 else [*rules, ("that row was just removed: the first", choose(1))]


def _with_affinity(family: Family, one: Pick) -> list[tuple[str, bytes]]:
    """Registers: client | number | pad, endpoint, port | number again. So (client . number), (number . index)
    and (endpoint . port . number) each stand together. The key stands at the pad until the number is
    known."""
    words = family.words
    number, pad, address = words, words + 1, words + 2
    port, again = 2 * words + 2, 2 * words + 3
    ids = "aff_local_ids" if one.local else "aff_ids"
    start = nl.join((
        ex.meta(number, nl.META_MARK), ex.meta(again, nl.META_MARK),  # for listings, see layout
        key(family, one, pad), ex.lookup(ids, pad, number - 1), ex.lookup(ids, pad, again - 1),
            family.source(0),
        family.destination(address), ex.payload(port, nl.TRANSPORT_HEADER, 2, 2),  # for listings
    ))  # fmt: skip
    clear, send = ex.immediate(pad, bytes(4)), ex.dnat(family.af, address, port)
    keep = ex.remember("affinity", 0, pad, one.affinity * 1000)

    def choose(count: int) -> bytes:
        dice = ex.random(pad, count, one.start)
        return nl.join((start, dice, ex.lookup("aff_endpoints", number, pad), clear))

    known = (start, ex.lookup("affinity", 0, pad), clear, ex.lookup("members", address), keep, send)
    fresh = (choose(one.count), ex.forget("affinity", 0, pad), keep, send)
    return [
        ("known client: @affinity while in @members", nl.join(known)),
        ("new client: @aff_endpoints, kept in @affinity", nl.join(fresh)),
        ("@affinity is full: not kept", choose(one.count) + send),
        ("that row was just removed: the first", choose(1) + send),
    ]


def sources(family: Family, one: Sources) -> Chain:
    """The chain that lets sources of allowed networks pass and drops all others."""
    words = family.words
    rules = []
    for length in one.lengths:
        ones = ((1 << length) - 1) << (family.size * 8 - length)
        network = family.source(words + 2) + ex.bitwise(
            words + 2, ones.to_bytes(family.size, "big"), bytes(family.size)
        )
        asked = ex.immediate(2 * words + 2, nl.word(length)) + ex.lookup("allowed", 0)
        rules.append(
            (
                f"source network of {length} bits",
                nl.join((family.key(0), network, asked, ex.verdict(Verdict.ACCEPT))),
            )
        )
    return Chain(one.name, (*rules, ("source not allowed", ex.verdict(Verdict.DROP))))
