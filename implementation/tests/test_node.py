"""Health answers, connection tracking, addresses and sysctls."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementation.node import addresses, command, conntrack, health, sysctls
from implementation.node.conntrack import Flow
from implementation.node.server import AddressError, split_address
from implementation.objects import SliceEndpoint
from implementation.state.desired import HealthCheck
from implementation.tests.build import desired, endpoints_of, service

FLOW = Flow("10.43.0.10", 53, "10.42.0.3", 53)
LINE = (
    "udp      17 28 src=10.42.0.2 dst=10.43.0.10 sport=40000 dport=53 [UNREPLIED] "
    "src=10.42.0.3 dst=10.42.0.2 sport=53 dport=40000 mark=0 use=1"
)


class TestHealth:
    def well(self) -> health.Health:
        made = health.Health(patience=60)
        made.done(100.0)
        return made

    def test_it_is_not_well_before_the_first_sync(self) -> None:
        fresh = health.Health(patience=60)

        assert [health.healthz(fresh, 1.0).status, health.livez(fresh, 1.0).status] == [503, 503]

    def test_it_is_well_while_changes_do_not_wait_too_long(self) -> None:
        made = self.well()
        made.queued(200.0)
        made.queued(250.0)

        assert [health.livez(made, now).status for now in (259.9, 260.0)] == [200, 503]
        made.done(261.0)
        assert health.livez(made, 9999.0).status == 200

    def test_a_node_about_to_go_is_alive_but_not_eligible(self) -> None:
        made = self.well()
        made.eligible = False
        answer = health.healthz(made, 101.0)

        assert (
            answer.status,
            answer.body["nodeEligible"],
            health.livez(made, 101.0).status,
        ) == (503, False, 200)

    @pytest.mark.parametrize(("local", "status"), [(0, 503), (2, 200)])
    def test_a_health_check_port_tells_how_many_endpoints_are_here(self, local: int, status: int) -> None:
        answer = health.service_health(HealthCheck("default", "web", 32000, local), self.well(), 101.0)

        assert status == answer.status
        assert {"X-Load-Balancing-Endpoint-Weight": str(local)} == answer.headers
        assert {
            "service": {"namespace": "default", "name": "web"},
            "localEndpoints": local,
            "serviceProxyHealthy": True,
        } == answer.body

    def test_a_proxy_that_is_not_well_makes_health_checks_fail(self) -> None:
        check = HealthCheck("default", "web", 32000, 2)

        assert health.service_health(check, health.Health(60), 1.0).status == 503


class TestConntrack:
    def test_a_listing_is_read(self) -> None:
        assert {FLOW} == conntrack.parse(f"{LINE}\n{LINE}\nudp 17 src=x\n\n")

    @given(st.text(alphabet="srcdport=.0123456789 \n[]", max_size=200))
    def test_any_listing_is_read(self, text: str) -> None:
        conntrack.parse(text)

    def test_a_flow_answered_by_an_endpoint_stays(self) -> None:
        assert conntrack.stale({FLOW}, {("10.43.0.10", 53): frozenset({"10.42.0.3:53"})}, frozenset()) == []

    @pytest.mark.parametrize(
        "allowed", [frozenset(), frozenset({"10.42.0.4:53"}), frozenset({"10.42.0.3:54"})]
    )
    def test_a_flow_answered_by_another_goes(self, allowed: frozenset[str]) -> None:
        assert conntrack.stale({FLOW}, {("10.43.0.10", 53): allowed}, frozenset()) == [FLOW]

    def test_flows_to_nothing_of_ours_stay(self) -> None:
        assert (
            conntrack.stale({FLOW}, {("10.43.0.11", 53): frozenset(), ("", 53): frozenset()}, frozenset())
            == []
        )

    def test_node_ports_are_meant_on_addresses_of_this_node_only(self) -> None:
        assert conntrack.stale({FLOW}, {("", 53): frozenset()}, frozenset({"10.43.0.10"})) == [FLOW]

    def test_what_was_served_before_may_keep_no_flow(self) -> None:
        now, before = {("a", 1): frozenset({"x"})}, {("a", 1): frozenset({"y"}), ("b", 2): frozenset({"z"})}

        assert {("a", 1): frozenset({"x"}), ("b", 2): frozenset()} == conntrack.with_ended(now, before)

    def test_only_udp_services_count_and_draining_endpoints_keep_their_flows(self) -> None:
        dns = service("dns", protocol="UDP", node_port=30053, external_ips=("1.2.3.4",))
        ending = SliceEndpoint("10.42.0.9", ready=False, terminating=True)
        wanted = desired((dns, [endpoints_of(dns, "10.42.0.8", ending)]), (service(), []))
        keep = frozenset({"10.42.0.8:8080", "10.42.0.9:8080"})

        assert {
            4: {("10.43.0.5", 80): keep, ("1.2.3.4", 80): keep, ("", 30053): keep},
            6: {},
        } == conntrack.served(wanted.services.values())

    def test_without_udp_services_nothing_is_needed(self) -> None:
        assert not conntrack.Reconciler().needed(conntrack.served(desired((service(), [])).services.values()))


class TestAddresses:
    def test_networks_choose_addresses_and_none_means_all(self) -> None:
        mine = ("127.0.0.1", "192.168.2.114", "fd00::1")

        assert addresses.matching(mine, ()) is None
        assert addresses.matching(mine, ("192.168.0.0/16",)) == ("192.168.2.114", "fd00::1")
        assert addresses.matching(mine, ("10.0.0.0/8", "fd00::/64")) == ("fd00::1",)

    @pytest.mark.parametrize(
        ("networks", "expected"),
        [
            ((), True),
            (("primary",), False),
            (("192.168.0.0/16",), False),
            (("127.0.0.0/8",), True),
            (("0.0.0.0/0",), True),
            (("::1/128",), False),
        ],
    )
    def test_loopback_is_open_only_where_it_is_meant(self, networks: tuple[str, ...], expected: bool) -> None:
        assert expected == addresses.hold_loopback(networks)

    def test_the_nodes_own_addresses_are_found(self) -> None:
        assert isinstance(addresses.local(), tuple)


class TestCommands:
    def test_a_missing_program_is_named(self) -> None:
        with pytest.raises(command.CommandError, match="no-such-program is not on PATH: install it"):
            command.run(["no-such-program"])

    def test_a_failing_program_says_what_it_said(self) -> None:
        with pytest.raises(command.CommandError, match="status 3: last"):
            command.run(["sh", "-c", "echo first >&2; echo last >&2; exit 3"])

    def test_a_program_has_its_time(self) -> None:
        with pytest.raises(command.CommandError, match="timed out"):
            command.run(["sleep", "5"], seconds=0.05)


class TestSysctls:
    def test_a_setting_is_written_only_when_it_differs(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("1\n")
        (tmp_path / "x").chmod(0o444)

        assert sysctls.ensure("x", "1", "nothing works", tmp_path) == ""

    def test_a_setting_that_cannot_be_written_is_one_sentence(self, tmp_path: Path) -> None:
        assert (
            sysctls.ensure("net/x", "1", "node ports are not served", tmp_path)
            == "sysctl net.x=1 cannot be set (No such file or directory): node ports are not served"
        )

    def test_limits_of_tracking_follow_from_what_was_chosen(self) -> None:
        few = sysctls.Tracking(max_per_core=10, minimum=15, established=0, close_wait=60, udp_stream=90.4)

        assert dict(sysctls.tracking(few, cores=1)) == {
            "net/netfilter/nf_conntrack_max": 15,
            "net/netfilter/nf_conntrack_tcp_timeout_close_wait": 60,
            "net/netfilter/nf_conntrack_udp_timeout_stream": 90,
        }
        assert dict(sysctls.tracking(few, cores=4))[sysctls.MOST] == 40
        assert sysctls.MOST not in dict(sysctls.tracking(sysctls.Tracking(max_per_core=0)))

    def test_the_number_of_connections_is_only_raised(self, tmp_path: Path) -> None:
        most = tmp_path / sysctls.MOST
        most.parent.mkdir(parents=True)
        chosen = sysctls.Tracking(max_per_core=1, minimum=100, established=0, close_wait=0)
        most.write_text("500\n")
        assert sysctls.apply_tracking(chosen, tmp_path) == []
        assert most.read_text() == "500\n"

        most.write_text("50\n")
        assert sysctls.apply_tracking(chosen, tmp_path) == []
        assert most.read_text() == "100"

    def test_a_limit_that_cannot_be_set_is_told_with_what_stays(self, tmp_path: Path) -> None:
        chosen = sysctls.Tracking(max_per_core=0, established=0, close_wait=60)

        assert sysctls.apply_tracking(chosen, tmp_path) == [
            "sysctl net.netfilter.nf_conntrack_tcp_timeout_close_wait=60 cannot be set (No such file or "
            "directory): connection tracking keeps no such setting"
        ]

    def test_an_absent_setting_reads_as_nothing(self, tmp_path: Path) -> None:
        assert sysctls.read("x", tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:10256", ("127.0.0.1", 10256)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("0.0.0.0", 80)),
    ],
)
def test_bind_addresses(text: str, expected: tuple[str, int]) -> None:
    assert expected == split_address(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "host:80", "1.2.3.4:99999", "1.2.3.4:", "::1:x"])
def test_bind_addresses_that_are_none(text: str) -> None:
    with pytest.raises(AddressError, match="is not an address and port"):
        split_address(text)
