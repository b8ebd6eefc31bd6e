"""The text of rules, against upstream's (1.34 where nothing else is said)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from implementation.dataplane.iptables import chains, layout
from implementation.dataplane.iptables.chains import Pieces
from implementation.dataplane.iptables.names import Style
from implementation.dataplane.iptables.options import Detect, LocalTraffic, Options
from implementation.objects import Service, SliceEndpoint
from implementation.state.serve import serve
from implementation.tests.build import NODE, OPTIONS, endpoints_of, service

UPSTREAM = msgspec.structs.replace(OPTIONS, reset_tcp=False)
OLD = msgspec.structs.replace(UPSTREAM, style=Style.OLD)
LOCAL = SliceEndpoint("10.180.0.1", node="here")


def pieces(
    of: Service,
    *endpoints: SliceEndpoint | str,
    port: int = 80,
    options: Options = UPSTREAM,
    speaking: bool = True,
) -> Pieces:
    served = serve(of, [endpoints_of(of, *endpoints, port=port)], NODE).ports[0]
    return chains.pieces(served, options, speaking=speaking)


def text(own: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    return [f"{chain} {rule}" for chain, rules in own for rule in rules]


DEMO = service("web", "10.96.0.50", namespace="demo", port_name="http", affinity_seconds=10800)
TEN = msgspec.structs.replace(UPSTREAM, local_traffic=((4, LocalTraffic(Detect.SOURCE, "10.244.0.0/16")),))


def test_the_worked_sample_of_the_facts_comes_out_byte_for_byte() -> None:
    found = pieces(DEMO, "10.244.1.10", "10.244.2.20", port=8080, options=TEN)
    svc, sep1, sep2 = "KUBE-SVC-XRY76EGRC3BSCIIJ", "KUBE-SEP-SI62D7XAGVO2CP3X", "KUBE-SEP-EDPRHQMK3QKBXSQ4"
    said = '-m comment --comment "demo/web:http cluster IP" -m tcp -p tcp -d 10.96.0.50 --dport 80'
    to1, to2 = (
        '-m comment --comment "demo/web:http -> ' + end + '"'
        for end in ("10.244.1.10:8080", "10.244.2.20:8080")
    )

    assert (f"{said} -j {svc}",) == found.nat_services
    assert [
        f"{svc} {said} ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
        f"{svc} {to1} -m recent --name {sep1} --rcheck --seconds 10800 --reap -j {sep1}",
        f"{svc} {to2} -m recent --name {sep2} --rcheck --seconds 10800 --reap -j {sep2}",
        f"{svc} {to1} -m statistic --mode random --probability 0.5000000000 -j {sep1}",
        f"{svc} {to2} -j {sep2}",
        f"{sep1} -m comment --comment demo/web:http -s 10.244.1.10 -j KUBE-MARK-MASQ",
        f"{sep1} -m comment --comment demo/web:http -m recent --name {sep1} --set -m tcp -p tcp "
        "-j DNAT --to-destination 10.244.1.10:8080",
        f"{sep2} -m comment --comment demo/web:http -s 10.244.2.20 -j KUBE-MARK-MASQ",
        f"{sep2} -m comment --comment demo/web:http -m recent --name {sep2} --set -m tcp -p tcp "
        "-j DNAT --to-destination 10.244.2.20:8080",
    ] == text(found.own)


def test_the_chains_of_the_post_come_out_in_the_old_style() -> None:
    post = service("nextcloud-dev-clusterip", "10.43.7.203", 8080)
    found = pieces(post, "10.42.1.170", "10.42.0.85", options=OLD)
    said = (
        '-m comment --comment "default/nextcloud-dev-clusterip: cluster IP" '
        "-m tcp -p tcp -d 10.43.7.203 --dport 8080"
    )
    name = "-m comment --comment default/nextcloud-dev-clusterip:"

    assert (
        f"{said} ! -s 10.42.0.0/16 -j KUBE-MARK-MASQ",
        f"{said} -j KUBE-SVC-WNPCWQYGSYD7A5N6",
    ) == found.nat_services
    assert [
        f"KUBE-SVC-WNPCWQYGSYD7A5N6 {name} -m statistic --mode random --probability 0.5000000000 "
        "-j KUBE-SEP-REGCNUNS5RWEMTHB",
        f"KUBE-SVC-WNPCWQYGSYD7A5N6 {name} -j KUBE-SEP-AB7UW27KCQCMC3UG",
        f"KUBE-SEP-REGCNUNS5RWEMTHB {name} -s 10.42.0.85 -j KUBE-MARK-MASQ",
        f"KUBE-SEP-REGCNUNS5RWEMTHB {name} -m tcp -p tcp -j DNAT --to-destination 10.42.0.85:80",
        f"KUBE-SEP-AB7UW27KCQCMC3UG {name} -s 10.42.1.170 -j KUBE-MARK-MASQ",
        f"KUBE-SEP-AB7UW27KCQCMC3UG {name} -m tcp -p tcp -j DNAT --to-destination 10.42.1.170:80",
    ] == text(found.own)


def test_an_old_node_port_marks_and_goes_straight_to_the_service() -> None:
    found = pieces(service(node_port=30080), "10.42.0.1", options=OLD)

    start = "-m comment --comment default/web: -m tcp -p tcp --dport 30080 -j"

    assert (f"{start} KUBE-MARK-MASQ", f"{start} {found.own[0][0]}") == found.nat_node_ports
    assert found.own[0][0].startswith("KUBE-SVC-")
    assert not any(chain.startswith("KUBE-EXT-") for chain, _ in found.own)


def test_a_node_port_goes_through_ext_and_is_masqueraded() -> None:
    found = pieces(service("svc1", namespace="ns1", port_name="p80", node_port=30080), LOCAL)
    ext = "KUBE-EXT-XPGD46QRK7WJZT7O"

    assert (
        f"-m comment --comment ns1/svc1:p80 -m tcp -p tcp --dport 30080 -j {ext}",
    ) == found.nat_node_ports
    assert [
        f'{ext} -m comment --comment "masquerade traffic for ns1/svc1:p80 external destinations" '
        "-j KUBE-MARK-MASQ",
        f"{ext} -j KUBE-SVC-XPGD46QRK7WJZT7O",
    ] == text(found.own)[:2]
    assert found.own[-1][0] == "KUBE-SEP-SXIVWICOYRO3J4NJ"


def test_policy_local_keeps_the_client_address_and_short_cuts_local_traffic() -> None:
    found = pieces(
        service("svc1", namespace="ns1", port_name="p80", node_port=30080, external_local=True), LOCAL
    )
    ext, svc = "KUBE-EXT-XPGD46QRK7WJZT7O", "KUBE-SVC-XPGD46QRK7WJZT7O"

    assert [
        f'{ext} -m comment --comment "pod traffic for ns1/svc1:p80 external destinations" '
        f"-s 10.42.0.0/16 -j {svc}",
        f'{ext} -m comment --comment "masquerade LOCAL traffic for ns1/svc1:p80 external destinations" '
        "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ",
        f'{ext} -m comment --comment "route LOCAL traffic for ns1/svc1:p80 external destinations" '
        f"-m addrtype --src-type LOCAL -j {svc}",
        f"{ext} -j KUBE-SVL-XPGD46QRK7WJZT7O",
    ] == text(found.own)[:4]


def test_policy_local_without_local_endpoint_has_both_short_cuts_and_drop() -> None:
    web = service(node_port=30080, external_local=True, external_ips=("1.2.3.4",), virtual_ips=("5.6.7.8",))
    found = pieces(web, "10.42.1.1")
    said = '-m comment --comment "default/web has no local endpoints"'

    assert (
        f"{said} -m tcp -p tcp -d 1.2.3.4 --dport 80 -j DROP",
        f"{said} -m tcp -p tcp -d 5.6.7.8 --dport 80 -j DROP",
        f"{said} -m addrtype --dst-type LOCAL -m tcp -p tcp --dport 30080 -j DROP",
    ) == found.filter_external
    assert found.filter_services == ()
    assert len(next(rules for chain, rules in found.own if chain.startswith("KUBE-EXT-"))) == 3
    assert len(found.nat_services) == 3 and len(found.nat_node_ports) == 1


@pytest.mark.parametrize(
    ("protocol", "options", "target"),
    [
        ("TCP", UPSTREAM, "-j REJECT"),
        ("UDP", UPSTREAM, "-j REJECT"),
        ("TCP", OPTIONS, "-j REJECT --reject-with tcp-reset"),
        ("UDP", OPTIONS, "-j REJECT"),
    ],
)
def test_a_service_without_endpoints_is_refused(protocol: str, options: Options, target: str) -> None:
    found = pieces(service(protocol=protocol, node_port=30080), options=options)
    low = protocol.lower()
    said = '-m comment --comment "default/web has no endpoints"'

    assert (f"{said} -m {low} -p {low} -d 10.43.0.5 --dport 80 {target}",) == found.filter_services
    assert (
        f"{said} -m addrtype --dst-type LOCAL -m {low} -p {low} --dport 30080 {target}",
    ) == found.filter_external
    assert (found.nat_services, found.nat_node_ports, found.own) == ((), (), ())


def test_source_ranges_stand_before_the_load_balancer_address() -> None:
    web = service(
        "svc1",
        namespace="ns1",
        port_name="p80",
        virtual_ips=("5.6.7.8",),
        source_ranges=("192.168.2.0/24", "203.0.113.0/25"),
    )
    found = pieces(web, LOCAL)
    fw, ext = "KUBE-FW-XPGD46QRK7WJZT7O", "KUBE-EXT-XPGD46QRK7WJZT7O"
    said = '-m comment --comment "ns1/svc1:p80 loadbalancer IP"'

    assert f"{said} -m tcp -p tcp -d 5.6.7.8 --dport 80 -j {fw}" == found.nat_services[1]
    assert (
        f'-m comment --comment "ns1/svc1:p80 traffic not accepted by {fw}" '
        "-m tcp -p tcp -d 5.6.7.8 --dport 80 -j DROP",
    ) == found.filter_firewall
    assert (
        f"{said} -s 192.168.2.0/24 -j {ext}",
        f"{said} -s 203.0.113.0/25 -j {ext}",
        f"{said} -s 5.6.7.8 -j {ext}",
        '-m comment --comment "other traffic to ns1/svc1:p80 will be dropped by KUBE-PROXY-FIREWALL"',
    ) == dict(found.own)[fw]


def test_an_internal_policy_local_balances_and_masquerades_in_svl() -> None:
    found = pieces(service(internal_local=True), SliceEndpoint("10.42.0.1", node="here"), "10.42.1.1")

    assert [chain[:8] for chain, _ in found.own] == ["KUBE-SVL", "KUBE-SEP"]
    assert "! -s 10.42.0.0/16 -j KUBE-MARK-MASQ" in found.own[0][1][0]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [""]),
        (2, ["0.5000000000", ""]),
        (3, ["0.3333333333", "0.5000000000", ""]),
    ],
)
def test_probabilities_have_ten_decimals_and_the_last_rule_is_certain(
    count: int, expected: list[str]
) -> None:
    assert expected == [chains.probability(index, count) for index in range(count)]


def test_every_endpoint_of_many_gets_the_same_share() -> None:
    left, shares = 1.0, []
    for index in range(1000):
        chance = float(chains.probability(index, 1000) or 1)
        shares.append(left * chance)
        left *= 1 - chance

    assert all(abs(share - 0.001) < 1e-8 for share in shares)


def test_in_a_large_cluster_endpoint_rules_are_silent_and_others_are_not() -> None:
    found = pieces(service(node_port=30080), "10.42.0.1", "10.42.0.2", speaking=False)

    assert not any(
        "comment" in rule for chain, rules in found.own for rule in rules if "SEP" in chain or "SEP" in rule
    )
    assert "comment" in found.nat_services[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (msgspec.structs.replace(UPSTREAM, masquerade_all=True), "--dport 80 -j KUBE-MARK-MASQ"),
        (
            msgspec.structs.replace(UPSTREAM, local_traffic=((4, LocalTraffic(Detect.INTERFACE, "cni0")),)),
            "--dport 80 ! -i cni0 -j KUBE-MARK-MASQ",
        ),
    ],
)
def test_who_is_masqueraded_is_the_administrators_choice(options: Options, expected: str) -> None:
    assert pieces(service(), "10.42.0.1", options=options).own[0][1][0].endswith(expected)


def test_without_knowledge_of_pod_networks_nobody_is_masqueraded() -> None:
    found = pieces(service(), "10.42.0.1", options=Options())

    assert [rule[-28:-16] for rule in found.own[0][1]] == ["-j KUBE-SEP-"]


def test_an_ipv6_service_is_written_with_brackets() -> None:
    web = service(ip="fd43::5")
    served = serve(web, [endpoints_of(web, SliceEndpoint("fd42::1"), family=6)], NODE).ports[0]
    found = chains.pieces(served, UPSTREAM, speaking=True)

    assert "-d fd43::5 --dport 80" in found.nat_services[0]
    assert "--to-destination [fd42::1]:8080" in found.own[-1][1][-1]


def test_a_health_check_port_is_let_in() -> None:
    web = service(node_port=30080, external_local=True, health_check_node_port=32000)

    assert pieces(web, LOCAL).filter_node_ports == (
        '-m comment --comment "default/web health check node port" -m tcp -p tcp --dport 32000 -j ACCEPT',
    )


class TestLayout:
    def test_static_rules_are_upstreams(self) -> None:
        rules = layout.ruleset([], 4, OPTIONS, None)

        assert rules["nat"]["KUBE-POSTROUTING"] == (
            "-m mark ! --mark 0x00004000/0x00004000 -j RETURN",
            "-j MARK --xor-mark 0x00004000",
            '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        )
        assert rules["nat"]["KUBE-MARK-MASQ"] == ("-j MARK --or-mark 0x00004000",)
        assert rules["filter"]["KUBE-FORWARD"] == (
            "-m conntrack --ctstate INVALID -j DROP",
            '-m comment --comment "kubernetes forwarding rules" '
            "-m mark --mark 0x00004000/0x00004000 -j ACCEPT",
            '-m comment --comment "kubernetes forwarding conntrack rule" '
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        )
        assert list(rules["filter"])[:6] == [
            "KUBE-SERVICES",
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-FORWARD",
            "KUBE-NODEPORTS",
            "KUBE-PROXY-FIREWALL",
            "KUBE-FIREWALL",
        ]

    @pytest.mark.parametrize(
        ("family", "localhost", "addresses", "expected"),
        [
            (4, True, None, ["-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]),
            (4, False, None, ["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS"]),
            (6, True, None, ["-m addrtype --dst-type LOCAL ! -d ::1/128 -j KUBE-NODEPORTS"]),
            (
                4,
                True,
                ("127.0.0.1", "192.168.2.114", "fd00::1"),
                ["-d 127.0.0.1 -j KUBE-NODEPORTS", "-d 192.168.2.114 -j KUBE-NODEPORTS"],
            ),
            (4, False, ("127.0.0.1", "192.168.2.114"), ["-d 192.168.2.114 -j KUBE-NODEPORTS"]),
            (6, True, ("::1", "fd00::1"), ["-d fd00::1 -j KUBE-NODEPORTS"]),
        ],
    )
    def test_node_ports_come_last(
        self,
        family: int,
        localhost: bool,
        addresses: tuple[str, ...] | None,
        expected: list[str],
    ) -> None:
        options = msgspec.structs.replace(OPTIONS, localhost_node_ports=localhost)
        said = f'-m comment --comment "{layout.LAST_RULE}" '

        assert [said + rule for rule in expected] == list(layout.node_port_tail(family, options, addresses))

    def test_the_mark_bit_and_the_invalid_rule_are_choices(self) -> None:
        options = msgspec.structs.replace(OPTIONS, masquerade_bit=31, drop_invalid=False)

        assert options.mark == "0x80000000"
        assert len(layout.forward(options)) == 2

    def test_localhost_is_guarded_only_where_node_ports_open_it(self) -> None:
        assert "KUBE-FIREWALL" in layout.ruleset([], 4, OPTIONS, None)["filter"]
        assert "KUBE-FIREWALL" not in layout.ruleset([], 6, OPTIONS, None)["filter"]
        assert len(layout.jumps(4, OPTIONS)) == 14
        assert len(layout.jumps(6, OPTIONS)) == 12
