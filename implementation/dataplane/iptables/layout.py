"""All Services together: every chain of ours in each table, and the jumps into them (facts of upstream,
§1.1, §1.3, §1.8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from implementation.dataplane.iptables.chains import Pieces, Rules, comment
from implementation.dataplane.iptables.options import Options

Chains = dict[str, Rules]
Ruleset = dict[str, Chains]  # table → chain → rules

LAST_RULE = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"
CANARY = "KUBE-PROXY-CANARY"
NEW = "-m conntrack --ctstate NEW"


class Jump(msgspec.Struct, frozen=True):
    """One rule in a built-in chain that leads into one of ours. ``rule`` is the text behind the chain."""

    table: str
    chain: str
    rule: str


def jumps(family: int, options: Options) -> tuple[Jump, ...]:
    """The jumps in the order in which each is put in front, so the last one ends up first."""
    portals, outside = "kubernetes service portals", "kubernetes externally-visible service portals"
    balancer = "kubernetes load balancer firewall"
    wanted = [
        ("filter", "INPUT", "KUBE-EXTERNAL-SERVICES", NEW, outside),
        ("filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", NEW, outside),
        ("filter", "INPUT", "KUBE-NODEPORTS", "", "kubernetes health check service ports"),
        ("filter", "FORWARD", "KUBE-SERVICES", NEW, portals),
        ("filter", "OUTPUT", "KUBE-SERVICES", NEW, portals),
        ("filter", "FORWARD", "KUBE-FORWARD", "", "kubernetes forwarding rules"),
        ("filter", "INPUT", "KUBE-PROXY-FIREWALL", NEW, balancer),
        ("filter", "OUTPUT", "KUBE-PROXY-FIREWALL", NEW, balancer),
        ("filter", "FORWARD", "KUBE-PROXY-FIREWALL", NEW, balancer),
        ("nat", "OUTPUT", "KUBE-SERVICES", "", portals),
        ("nat", "PREROUTING", "KUBE-SERVICES", "", portals),
        ("nat", "POSTROUTING", "KUBE-POSTROUTING", "", "kubernetes postrouting rules"),
    ]
    if guards_localhost(family, options):
        wanted += [
            ("filter", "INPUT", "KUBE-FIREWALL", "", ""),
            ("filter", "OUTPUT", "KUBE-FIREWALL", "", ""),
        ]
    return tuple(
        Jump(table, chain, " ".join(filter(None, (match, comment(said) if said else "", f"-j {target}"))))
        for table, chain, target, match, said in wanted
    )


def guards_localhost(family: int, options: Options) -> bool:
    """True where node ports are served on 127.0.0.1, which opens loopback to routed packets
    (CVE-2020-8558)."""
    return family == 4 and options.localhost_node_ports


def ruleset(
    pieces: Iterable[Pieces],
    family: int,
    options: Options,
    node_port_addresses: Sequence[str] | None,
) -> Ruleset:
    """Every chain of ours with its rules; ``pieces`` in the order in which Services shall stand."""
    every = list(pieces)
    nat: Chains = {
        "KUBE-SERVICES": (
            *(rule for p in every for rule in p.nat_services),
            *node_port_tail(family, options, node_port_addresses),
        ),
        "KUBE-NODEPORTS": tuple(rule for p in every for rule in p.nat_node_ports),
        "KUBE-POSTROUTING": postrouting(options),
        "KUBE-MARK-MASQ": (f"-j MARK --or-mark {options.mark}",),
    }
    for piece in every:
        nat.update(piece.own)
    nat[CANARY] = ()
    return {"filter": filter_chains(every, family, options), "nat": nat, "mangle": {CANARY: ()}}


def filter_chains(every: Sequence[Pieces], family: int, options: Options) -> Chains:
    """The chains of table filter, in upstream's order."""
    chains: Chains = {
        "KUBE-SERVICES": tuple(rule for p in every for rule in p.filter_services),
        "KUBE-EXTERNAL-SERVICES": tuple(rule for p in every for rule in p.filter_external),
        "KUBE-FORWARD": forward(options),
        "KUBE-NODEPORTS": tuple(rule for p in every for rule in p.filter_node_ports),
        "KUBE-PROXY-FIREWALL": tuple(rule for p in every for rule in p.filter_firewall),
    }
    if guards_localhost(family, options):
        chains["KUBE-FIREWALL"] = (
            f"{comment('block incoming localnet connections')} -d 127.0.0.0/8 ! -s 127.0.0.0/8 "
            "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        )
    chains[CANARY] = ()
    return chains


def postrouting(options: Options) -> Rules:
    """Masquerades what was marked, and clears the mark so that a second passage does not masquerade again."""
    mark = options.mark
    return (
        f"-m mark ! --mark {mark}/{mark} -j RETURN",
        f"-j MARK --xor-mark {mark}",
        f"{comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully",
    )


def forward(options: Options) -> Rules:
    """Lets Service traffic through a FORWARD policy of DROP; INVALID packets would end connections
    (#74839)."""
    invalid = ("-m conntrack --ctstate INVALID -j DROP",) if options.drop_invalid else ()
    return (
        *invalid,
        f"{comment('kubernetes forwarding rules')} -m mark --mark {options.mark}/{options.mark} -j ACCEPT",
        f"{comment('kubernetes forwarding conntrack rule')} "
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    )


def node_port_tail(family: int, options: Options, addresses: Sequence[str] | None) -> Rules:
    """The last rules of KUBE-SERVICES: what is addressed to this node itself may be for a node port."""
    said = comment(LAST_RULE)
    if addresses is None:
        loopback = {6: "! -d ::1/128 ", 4: "" if options.localhost_node_ports else "! -d 127.0.0.0/8 "}[
            family
        ]
        return (f"{said} -m addrtype --dst-type LOCAL {loopback}-j KUBE-NODEPORTS",)
    return tuple(
        f"{said} -d {address} -j KUBE-NODEPORTS"
        for address in addresses
        if (":" in address) == (family == 6) and not skipped_loopback(address, options)
    )


def skipped_loopback(address: str, options: Options) -> bool:
    """True for loopback addresses on which node ports are not served."""
    return address == "::1" or (address.startswith("127.") and not options.localhost_node_ports)


def count(rules: Mapping[str, Rules]) -> int:
    """How many rules these chains hold."""
    return sum(len(lines) for lines in rules.values())
