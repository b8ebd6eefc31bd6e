"""Sets and chains that do not depend on how many Services there are.

Layout: ``svc`` and ``nodeports`` give a variant, ``variant`` (tiny; only such maps hold verdicts) leads to a
shared chain, which takes a row of ``endpoints``; ``fate`` and ``gate`` do so for refusals and sources.

nft 1.0.6 aborts on a rule that looks up what came out of a map, so in such rules something harmless is loaded
into that register first, and a listing shows that; the rule's comment says what is meant.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Sequence
from ipaddress import ip_network

from implementation.dataplane.nftables import expressions as ex
from implementation.dataplane.nftables import netlink as nl
from implementation.dataplane.nftables import picks
from implementation.dataplane.nftables.names import (
    DROP,
    REJECT,
    Fixed,
    Inside,
    Keeping,
    Outside,
    Pick,
    Sources,
    Target,
)
from implementation.dataplane.nftables.netlink import Kind, Verdict
from implementation.dataplane.nftables.options import Options
from implementation.dataplane.nftables.shapes import Chain, Family, SetOf

TABLE = "kp"
AFFINITY_ENTRIES, VARIANTS = 1 << 20, 1 << 14
VERSION = (
    1  # raise it when sets, chains or the meaning of rows change: a table of another one is written anew
)
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)


def sets(family: Family) -> tuple[SetOf, ...]:
    """Every set and map."""
    ip, mark = family.kind, Kind.MARK
    port = (Kind.PROTOCOL, Kind.PORT)
    vip = (ip, *port)
    leads, target = (mark, mark), (mark, ip, Kind.PORT)
    return (
        SetOf("svc", vip, leads, "address and port of a Service: 0 . variant"),
        SetOf("nodeports", port, leads, "node port: 0 . variant"),
        SetOf("nodeport_ips", (ip,), None, "addresses that answer on node ports"),
        SetOf("endpoints", (*vip, mark), (ip, Kind.PORT), "Service port . index: endpoint"),
        SetOf("hairpin", (ip, ip), None, "endpoints, which may call themselves"),
        SetOf("cluster_ips", (ip,), None, "cluster addresses, whose other ports are refused"),
        SetOf("noep", vip, leads, "not served here: 0 . variant that refuses or drops"),
        SetOf("noep_nodeports", port, leads, "the same for node ports"),
        SetOf("ranged", vip, leads, "open to some sources only: 0 . variant"),
        SetOf("allowed", (*vip, ip, mark), None, "Service port . network of sources . prefix length"),
        SetOf("aff_ids", vip, leads, "Service port with affinity: 0 . number"),
        SetOf("aff_local_ids", vip, leads, "the same for endpoints on this node"),
        SetOf("aff_endpoints", leads, target, "number . index: 0 . endpoint"),
        SetOf("members", (ip, Kind.PORT, mark), None, "endpoint . number: a client may stay with it"),
        SetOf("affinity", (ip, mark), target, "client . number: 0 . endpoint", AFFINITY_ENTRIES, 10_800_000),
        SetOf("variant", (mark,), (), "variant: shared chain", VARIANTS),
        SetOf("fate", (mark,), (), "the same for what is not served", 16),
        SetOf("gate", (mark,), (), "the same for addresses open to some sources", VARIANTS),
    )


ROWS_OF_SERVICES = (
    "svc", "nodeports", "nodeport_ips", "endpoints", "hairpin", "cluster_ips", "noep", "noep_nodeports",
    "ranged",
    "allowed", "aff_ids", "aff_local_ids", "aff_endpoints", "members",
)  # fmt: skip


def stamp(family: Family, options: Options) -> str:
    """The table's comment: it tells whether the sets and chains are those of this version and these options.
    One chain of each sort stands for all of its sort."""
    pick, kept = Pick(2), Pick(2, local=True, node_port=True, affinity=1)
    sorts = (Inside(pick), Outside(kept), Keeping(pick, kept), Sources((8,)))
    told = repr((VERSION, sets(family), skeleton(family, options, sorts)))
    return f"Kubernetes Services as rows, layout {zlib.crc32(told.encode()):08x}"


def fixed_chains(family: Family, options: Options) -> list[Chain]:
    """The chains that are always there; those that others lead to come first."""
    new = nl.join(
        (ex.ct_state(0), ex.bitwise(0, nl.word(8), nl.word(0)), ex.compare(0, nl.UNEQUAL, nl.word(0)))
    )
    checked = ("new connections: is it served here?", new + ex.verdict(Verdict.JUMP, "check"))
    closed = (
        "new connections: is the port one of the Service's?",
        new + ex.verdict(Verdict.JUMP, "cluster-ips"),
    )
    ranged = ("new connections: may the source?", new + ex.verdict(Verdict.JUMP, "sources"))
    served = (("to a Service?", ex.verdict(Verdict.JUMP, "services")),)
    return [
        Chain(REJECT, refusals(family, options)),
        Chain(DROP, (("no endpoint on this node", ex.verdict(Verdict.DROP)),)),
        Chain("mark-for-masquerade", (("masquerade when leaving", mark_packet(options)),)),
        Chain("check", tuple(guarded(family, options, "noep", "noep_nodeports", "fate"))),
        Chain("cluster-ips", ((
            "no such port",
            family.destination(0) + ex.lookup("cluster_ips", 0) + ex.verdict(Verdict.GOTO, REJECT),
        ),)),
        Chain("sources", (leads_to(family, "ranged", "gate"),)),
        Chain("services", tuple(guarded(family, options, "svc", "nodeports", "variant"))),
        Chain("filter-prerouting", (ranged,), (PREROUTING, -110, "filter")),
        Chain("filter-output-before", (ranged,), (OUTPUT, -110, "filter")),
        Chain("filter-input", (checked,), (INPUT, 0, "filter")),
        Chain("filter-forward", (checked, closed), (FORWARD, 0, "filter")),
        Chain("filter-output", (checked, closed), (OUTPUT, 0, "filter")),
        Chain("nat-prerouting", served, (PREROUTING, -100, "nat")),
        Chain("nat-output", served, (OUTPUT, -100, "nat")),
        Chain("nat-postrouting", postrouting(family, options), (POSTROUTING, 100, "nat")),
    ]  # fmt: skip


def leads_to(family: Family, name: str, verdicts: str) -> tuple[str, bytes]:
    """The rule that finds a Service port in a map and follows its variant."""
    body = (ex.meta(9, nl.META_MARK), family.key(0), ex.lookup(name, 0, 8), ex.verdict_of(verdicts, 9))
    return f"@{name}", nl.join(body)


def guarded(
    family: Family, options: Options, vips: str, ports: str, verdicts: str
) -> list[tuple[str, bytes]]:
    """Follow a Service's address, else a node port on an address of this node."""
    follow = (
        ex.meta(9, nl.META_MARK), family.port(0), ex.lookup(ports, 0, 8), ex.verdict_of(verdicts, 9)
    )  # fmt: skip
    if options.every_address:
        first = b"\x7f" if family.number == 4 else bytes(15) + b"\1"
        here = ex.address_type(0, source=False) + ex.compare(0, nl.EQUAL, nl.word(nl.LOCAL))
        guard = here + family.destination(0) + ex.compare(0, nl.UNEQUAL, first)
    else:
        guard = family.destination(0) + ex.lookup("nodeport_ips", 0)
    return [leads_to(family, vips, verdicts), (f"node port @{ports}", nl.join((guard, *follow)))]


def refusals(family: Family, options: Options) -> tuple[tuple[str, bytes], ...]:
    """Refuse; TCP by a reset, which no limit on ICMP holds up and no connecting socket misses."""
    by_icmp = ("refuse", ex.reject(family.number, reset=False))
    if not options.reset_tcp:
        return (by_icmp,)
    tcp = ex.meta(0, nl.META_L4PROTO) + ex.compare(0, nl.EQUAL, bytes((socket.IPPROTO_TCP,)))
    return (("refuse TCP by a reset", tcp + ex.reject(family.number, reset=True)), by_icmp)


def mark_packet(options: Options) -> bytes:
    """Set the bit that asks for masquerading."""
    keep = nl.word(0xFFFFFFFF ^ options.mark)
    return ex.meta(0, nl.META_MARK) + ex.bitwise(0, keep, nl.word(options.mark)) + ex.set_mark(0)


def postrouting(family: Family, options: Options) -> tuple[tuple[str, bytes], ...]:
    """Masquerade an endpoint that calls itself, and what was marked; the mark is cleared, so that a second
    passage does not masquerade again."""
    none, mark = nl.word(0), nl.word(options.mark)
    hairpin = (
        ex.ct_status(0), ex.bitwise(0, nl.word(0x20), none), ex.compare(0, nl.UNEQUAL, none),
        family.source(0), family.destination(family.words), ex.lookup("hairpin", 0), ex.masquerade(),
    )  # fmt: skip
    marked = (
        ex.meta(0, nl.META_MARK), ex.bitwise(0, mark, none), ex.compare(0, nl.UNEQUAL, none),
        ex.meta(0, nl.META_MARK), ex.bitwise(0, nl.word(0xFFFFFFFF), mark), ex.set_mark(0), ex.masquerade(),
    )  # fmt: skip
    return (("an endpoint calls itself", nl.join(hairpin)), ("marked for masquerading", nl.join(marked)))


def from_pods(family: Family, options: Options, operator: int) -> bytes:
    """Go on only if the packet comes from a pod (EQUAL) or does not (UNEQUAL); empty where pods are not
    told."""
    pods = options.pods_of(family.number)
    if not pods:
        return b""
    if "/" in pods:
        network = ip_network(pods)
        mask = ex.bitwise(0, network.netmask.packed, bytes(family.size))
        return family.source(0) + mask + ex.compare(0, operator, network.network_address.packed)
    name = pods[:-1].encode() if pods.endswith("+") else pods.encode().ljust(16, b"\0")
    return ex.meta(0, nl.META_IIFNAME) + ex.compare(0, operator, name)


def target_chains(family: Family, options: Options, target: Target) -> list[Chain]:
    """The chain a row leads to, behind the chains it needs itself."""
    mark = ex.verdict(Verdict.JUMP, "mark-for-masquerade")
    if isinstance(target, Fixed):
        return []
    if isinstance(target, Sources):
        return [picks.sources(family, target)]
    if isinstance(target, Outside):
        return [
            picks.pick(family, target.pick),
            Chain(target.name, (("masquerade", mark), _on_to(target.pick.name))),
        ]
    if isinstance(target, Inside):
        foreign = from_pods(family, options, nl.UNEQUAL)
        rules: list[tuple[str, bytes]] = [_on_to(target.pick.name)]
        if options.masquerade_all:
            rules.insert(0, ("masquerade", mark))
        elif foreign:
            rules.insert(0, ("masquerade what is not from pods", foreign + mark))
        return [picks.pick(family, target.pick), Chain(target.name, tuple(rules))]
    return _keeping(family, options, target)


def _keeping(family: Family, options: Options, target: Keeping) -> list[Chain]:
    mark, on = ex.verdict(Verdict.JUMP, "mark-for-masquerade"), ex.verdict(Verdict.GOTO, target.cluster.name)
    own = ex.address_type(0, source=True) + ex.compare(0, nl.EQUAL, nl.word(nl.LOCAL))
    pods = from_pods(family, options, nl.EQUAL)
    rules = [("short cut for pods", pods + on)] if pods else []
    rules += [("masquerade this node", own + mark), ("short cut for this node", own + on)]
    chains = [picks.pick(family, target.cluster)]
    if target.local:
        chains.append(picks.pick(family, target.local))
        rules.append(_on_to(target.local.name))
    return [*chains, Chain(target.name, tuple(rules))]


def _on_to(name: str) -> tuple[str, bytes]:
    return f"to {name}", ex.verdict(Verdict.GOTO, name)


def skeleton(family: Family, options: Options, targets: Sequence[Target] = ()) -> dict[str, Chain]:
    """All chains by name, in the order in which they can be made."""
    chains = fixed_chains(family, options)
    for target in targets:
        chains += target_chains(family, options, target)
    return {chain.name: chain for chain in chains}
