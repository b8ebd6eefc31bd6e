"""The input for iptables-restore: whole, difference, reading back; for any Services."""

from __future__ import annotations

import re

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from implementation.dataplane.iptables import chains, layout, restore
from implementation.dataplane.iptables.layout import Jump, Ruleset
from implementation.dataplane.iptables.names import Style
from implementation.objects import EndpointSlice, Service, ServicePort, SliceEndpoint
from implementation.state.serve import serve
from implementation.tests.build import NODE, OPTIONS, endpoints_of, service

NAMES = st.sampled_from(["a", "b", "web", "kube-dns"])
ENDPOINTS = st.builds(
    SliceEndpoint,
    address=st.integers(1, 6).map("10.42.0.{}".format),
    ready=st.booleans(),
    serving=st.booleans(),
    terminating=st.booleans(),
    node=st.sampled_from(["here", "there"]),
    zones=st.sampled_from([(), ("a",)]),
)
PORTS = st.lists(
    st.builds(
        ServicePort,
        name=st.sampled_from(["", "http", "dns"]),
        protocol=st.sampled_from(["TCP", "UDP"]),
        port=st.integers(1, 3),
        node_port=st.sampled_from([0, 30001, 30002]),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda port: (port.name, port.protocol),
)
SERVICES = st.lists(
    st.builds(
        Service,
        namespace=NAMES,
        name=NAMES,
        cluster_ips=st.integers(1, 9).map("10.43.0.{}".format).map(lambda ip: (ip,)),
        ports=PORTS.map(tuple),
        external_ips=st.sampled_from([(), ("1.2.3.4",)]),
        virtual_ips=st.sampled_from([(), ("5.6.7.8",)]),
        source_ranges=st.sampled_from([(), ("192.168.2.0/24",)]),
        affinity_seconds=st.sampled_from([0, 10]),
        internal_local=st.booleans(),
        external_local=st.booleans(),
    ),
    max_size=4,
    unique_by=lambda s: (s.key, s.cluster_ips),
)
CLUSTERS = SERVICES.flatmap(
    lambda services: st.tuples(
        st.just({s.key: s for s in services}),
        st.fixed_dictionaries({s.key: st.lists(ENDPOINTS, max_size=4) for s in services}),
    )
)
STYLES = st.sampled_from(list(Style))
BUILT_IN = {"INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING"}
TARGETS = {"ACCEPT", "DROP", "REJECT", "RETURN", "MARK", "MASQUERADE", "DNAT"}


Cluster = tuple[dict[tuple[str, str], Service], dict[tuple[str, str], list[SliceEndpoint]]]


def rules_of(
    cluster: tuple[dict[tuple[str, str], Service], dict[tuple[str, str], list[SliceEndpoint]]],
    style: Style,
) -> Ruleset:
    options = msgspec.structs.replace(OPTIONS, style=style)
    found = []
    for key, one in cluster[0].items():
        slices: list[EndpointSlice] = [endpoints_of(one, *cluster[1][key])]
        found += [chains.pieces(port, options, speaking=True) for port in serve(one, slices, NODE).ports]
    return layout.ruleset(found, 4, options, None)


def run(text: str, tables: dict[str, dict[str, list[str]]]) -> None:
    """What iptables-restore --noflush does to tables of rule texts; fails where it would."""
    table: dict[str, list[str]] = {}
    for line in text.splitlines():
        verb, _, rest = line.partition(" ")
        if line.startswith("*"):
            table = tables.setdefault(line[1:], {name: [] for name in BUILT_IN})
        elif line.startswith(":"):
            table[line[1:].split(" ")[0]] = []
        elif verb == "-A":
            table[rest.split(" ")[0]].append(rest.partition(" ")[2])
        elif verb == "-I":
            table[rest.split(" ")[0]].insert(0, rest.partition(" ")[2])
        elif verb == "-X":
            assert table[rest] == []
            assert not any(rule.endswith(f"-j {rest}") for rules in table.values() for rule in rules)
            del table[rest]
    for rules in table.values():
        for rule in rules:
            target = re.search(r"-j (\S+)", rule)
            assert target is None or target[1] in table or target[1] in TARGETS


@given(CLUSTERS, STYLES)
@settings(max_examples=150, deadline=None)
def test_every_chain_that_is_named_exists_and_no_rule_stands_twice(cluster: Cluster, style: Style) -> None:
    rules = rules_of(cluster, style)
    tables: dict[str, dict[str, list[str]]] = {}

    run(restore.difference(None, rules, jumps=layout.jumps(4, OPTIONS)).text, tables)

    reached = {
        match
        for chains_ in tables.values()
        for lines in chains_.values()
        for line in lines
        for match in re.findall(r"-j (KUBE-\S+)", line)
    }
    owned = {name for name in tables["nat"] if name.startswith("KUBE-S") or name.startswith("KUBE-EXT")}
    assert owned <= reached | {"KUBE-SERVICES"}
    for name, lines in rules["nat"].items():
        if name.startswith(("KUBE-SVC", "KUBE-SVL", "KUBE-SEP", "KUBE-EXT")):
            assert len(set(lines)) == len(lines)


@given(CLUSTERS, CLUSTERS, STYLES)
@settings(max_examples=150, deadline=None)
def test_a_difference_leads_to_what_writing_everything_would_give(
    before: Cluster, after: Cluster, style: Style
) -> None:
    old, new = rules_of(before, style), rules_of(after, style)
    stepwise: dict[str, dict[str, list[str]]] = {}
    at_once: dict[str, dict[str, list[str]]] = {}
    run(restore.difference(None, old).text, stepwise)
    run(restore.difference(old, new).text, stepwise)
    run(restore.difference(None, new).text, at_once)

    assert at_once == stepwise


@given(CLUSTERS, CLUSTERS, STYLES, st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_small_commits_are_right_after_each_and_lead_to_the_same(
    before: Cluster, after: Cluster, style: Style, most: int
) -> None:
    old, new = rules_of(before, style), rules_of(after, style)
    stepwise: dict[str, dict[str, list[str]]] = {}
    at_once: dict[str, dict[str, list[str]]] = {}
    run(restore.difference(None, old).text, stepwise)
    for commit in restore.difference(old, new, most=most).text.split("COMMIT\n"):
        run(commit, stepwise)
    run(restore.difference(None, new).text, at_once)

    assert at_once == stepwise


@given(CLUSTERS, STYLES)
@settings(max_examples=50, deadline=None)
def test_the_same_again_is_no_difference(cluster: Cluster, style: Style) -> None:
    rules = rules_of(cluster, style)

    assert restore.difference(rules, rules_of(cluster, style)).text == ""


def test_one_changed_service_writes_only_its_own_chains() -> None:
    many = {("default", f"s{n}"): service(f"s{n}", f"10.43.0.{n}") for n in range(50)}
    before = {key: [SliceEndpoint("10.42.0.1")] for key in many}
    after = {**before, ("default", "s7"): [SliceEndpoint("10.42.0.2")]}

    change = restore.difference(
        rules_of((many, before), Style.CURRENT), rules_of((many, after), Style.CURRENT)
    )

    assert sum(change.written.values()) == 2 + 2
    assert change.text.count("\n:") == 3  # SVC, the new SEP, and the old SEP on its way out
    assert "*filter" not in change.text


def test_refusals_come_before_the_way_goes_and_go_after_it_has_come() -> None:
    web = {("default", "web"): service()}
    empty, full = (
        rules_of((web, {("default", "web"): found}), Style.CURRENT)
        for found in ([], [SliceEndpoint("10.42.0.1")])
    )

    gone, come = restore.difference(full, empty).text, restore.difference(empty, full).text

    assert gone.index("*filter") < gone.index("*nat")
    assert come.index("*nat") < come.index("*filter")


def test_what_iptables_save_prints_is_read() -> None:
    saved = restore.read(
        "# x\n*nat\n:PREROUTING ACCEPT [1:2]\n:KUBE-SVC-A - [0:0]\n:KUBE-SVC-B - [0:0]\n:KUBE-SEP-C - [0:0]\n"
        '-A PREROUTING -m comment --comment "a b" -j KUBE-SERVICES\n'
        "-A MINE -j KUBE-SEP-C\n-A KUBE-SVC-A\nCOMMIT\n",
    )
    jump = Jump("nat", "PREROUTING", '-m comment --comment "a b" -j KUBE-SERVICES')
    other = Jump("nat", "OUTPUT", jump.rule)

    assert [other] == restore.missing_jumps(saved, [jump, other])
    assert restore.stale_chains(saved, {"KUBE-SVC-A": ()}) == ["KUBE-SVC-B"]


def test_cleaning_up_takes_only_what_is_there_and_ours() -> None:
    jump = Jump("nat", "OUTPUT", "-j KUBE-SERVICES")
    saved = restore.read(
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-B - [0:0]\n:OTHER - [0:0]\n-A OUTPUT -j KUBE-SERVICES\n"
    )

    assert restore.removal(saved, [jump], {"nat": ["KUBE-SERVICES", "KUBE-NODEPORTS"]}) == (
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-B - [0:0]\n-D OUTPUT -j KUBE-SERVICES\n-X KUBE-SERVICES\n"
        "-X KUBE-SVC-B\nCOMMIT\n"
    )
    assert restore.removal({}, [jump], {"nat": ["KUBE-SERVICES"]}) == ""
