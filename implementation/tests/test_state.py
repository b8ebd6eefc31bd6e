"""What must be served: one decision a test."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from implementation.objects import Service, SliceEndpoint, SlicePort
from implementation.state import merge, policy, topology, usable
from implementation.state.desired import Endpoint, ServedPort, ThisNode, Way
from implementation.state.known import Known
from implementation.state.serve import serve
from implementation.tests.build import NODE, endpoints_of, raw, service, service_json, slice_json

READY = Endpoint("10.42.0.1", 80)
DRAINING = Endpoint("10.42.0.2", 80, ready=False, terminating=True)
UNREADY = Endpoint("10.42.0.3", 80, ready=False)
ENDED = Endpoint("10.42.0.4", 80, ready=False, serving=False, terminating=True)


def one(of: Service, *endpoints: SliceEndpoint | str, node: ThisNode = NODE) -> ServedPort:
    return serve(of, [endpoints_of(of, *endpoints)], node).ports[0]


def targets(endpoints: tuple[Endpoint, ...]) -> list[str]:
    return [endpoint.target for endpoint in endpoints]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((READY, DRAINING, UNREADY), (READY,)),
        ((DRAINING, UNREADY, ENDED), (DRAINING,)),
        ((UNREADY, ENDED), ()),
        ((), ()),
    ],
)
def test_ready_endpoints_come_before_draining_ones_and_others_are_never_used(
    given: tuple[Endpoint, ...],
    expected: tuple[Endpoint, ...],
) -> None:
    assert expected == usable.usable(given)


@pytest.mark.parametrize(
    ("local_only", "has", "local", "expected"),
    [
        (False, True, (), Way.CLUSTER),
        (False, False, (), Way.REJECT),
        (True, False, (), Way.REJECT),
        (True, True, (), Way.DROP),
        (True, True, (READY,), Way.LOCAL),
    ],
)
def test_a_local_policy_drops_where_others_serve_and_refuses_where_nobody_does(
    local_only: bool,
    has: bool,
    local: tuple[Endpoint, ...],
    expected: Way,
) -> None:
    assert (
        expected == policy.internal_way(local_only, has, local) == policy.external_way(local_only, has, local)
    )


class TestMerge:
    def test_slices_are_united_each_endpoint_once_in_text_order(self) -> None:
        web = service()
        first = endpoints_of(web, "10.42.0.9", "10.42.0.10", name="a")
        second = endpoints_of(web, "10.42.0.10", name="b")

        found = merge.merge([second, first], 4, "here")

        assert {k: targets(v) for k, v in found.items()} == {
            ("", "TCP"): ["10.42.0.10:8080", "10.42.0.9:8080"]
        }

    def test_the_same_address_with_two_ports_is_two_endpoints(self) -> None:
        web = service()
        slices = [
            endpoints_of(web, "10.42.0.9", port=1, name="a"),
            endpoints_of(web, "10.42.0.9", port=2, name="b"),
        ]

        assert targets(merge.merge(slices, 4, "here")["", "TCP"]) == ["10.42.0.9:1", "10.42.0.9:2"]

    @pytest.mark.parametrize("swapped", [False, True])
    def test_of_two_records_of_one_address_the_live_one_wins(self, swapped: bool) -> None:
        web = service()
        dead = SliceEndpoint("10.42.0.9", ready=False, serving=False, terminating=True, node="here")
        parts = [
            endpoints_of(web, dead, name="b" if swapped else "a"),
            endpoints_of(web, "10.42.0.9", name="a" if swapped else "b"),
        ]

        assert [e.ready for e in merge.merge(parts, 4, "here")["", "TCP"]] == [True]

    def test_other_families_and_ports_do_not_mix(self) -> None:
        web = service()
        six = endpoints_of(web, SliceEndpoint("fd00::1"), family=6)
        named = endpoints_of(web, "10.42.0.1", ports=[SlicePort("x", "TCP", 1), SlicePort("x", "UDP", 2)])

        found = merge.merge([six, named], 4, "here")

        assert {key: targets(value) for key, value in found.items()} == {
            ("x", "TCP"): ["10.42.0.1:1"],
            ("x", "UDP"): ["10.42.0.1:2"],
        }

    def test_an_endpoint_is_local_only_on_its_own_node(self) -> None:
        assert merge.seen_from(SliceEndpoint("10.42.0.1", node="here"), 80, "here").local
        assert not merge.seen_from(SliceEndpoint("10.42.0.1", node="there"), 80, "here").local
        assert not merge.seen_from(SliceEndpoint("10.42.0.1"), 80, "").local


class TestTopology:
    node = ThisNode("here", zone="a")

    def hinted(self, address: str, *, zones: tuple[str, ...] = (), nodes: tuple[str, ...] = ()) -> Endpoint:
        return Endpoint(address, 80, zones=zones, nodes=nodes)

    def test_the_own_zone_is_preferred_when_every_endpoint_has_a_hint(self) -> None:
        near, far = self.hinted("10.0.0.1", zones=("a",)), self.hinted("10.0.0.2", zones=("b",))

        assert (near,) == topology.nearby((near, far), self.node)

    def test_one_endpoint_without_hint_switches_hints_off(self) -> None:
        near, bare = self.hinted("10.0.0.1", zones=("a",)), self.hinted("10.0.0.2")

        assert topology.nearby((near, bare), self.node) is None

    def test_hints_that_name_other_zones_only_are_off(self) -> None:
        assert topology.nearby((self.hinted("10.0.0.2", zones=("b",)),), self.node) is None

    def test_a_node_without_zone_uses_all(self) -> None:
        assert topology.nearby((self.hinted("10.0.0.2", zones=("",)),), ThisNode("here")) is None

    def test_the_node_comes_before_the_zone(self) -> None:
        own = self.hinted("10.0.0.1", zones=("a",), nodes=("here",))
        other = self.hinted("10.0.0.2", zones=("a",), nodes=("there",))

        assert (own,) == topology.nearby((own, other), self.node)

    def test_draining_endpoints_are_used_whatever_their_hints(self) -> None:
        ending = SliceEndpoint("10.42.0.2", ready=False, terminating=True, zones=("b",))

        assert targets(one(service(), ending, node=self.node).cluster) == ["10.42.0.2:8080"]


class TestServe:
    local = SliceEndpoint("10.42.0.1", node="here")

    def test_without_endpoints_it_is_refused(self) -> None:
        served = one(service(node_port=30080))

        assert (served.internal, served.external, served.has_endpoints) == (Way.REJECT, Way.REJECT, False)

    def test_an_external_policy_local_keeps_the_cluster_address_for_everybody(self) -> None:
        served = one(service(node_port=30080, external_local=True), "10.42.1.1")

        assert (served.internal, served.external) == (Way.CLUSTER, Way.DROP)
        assert ["10.42.1.1:8080"] == targets(served.cluster) == targets(served.reachable)

    def test_an_internal_policy_local_without_external_way_reaches_local_endpoints_only(self) -> None:
        served = one(service(internal_local=True), self.local, "10.42.1.1")

        assert served.internal == Way.LOCAL
        assert targets(served.reachable) == ["10.42.0.1:8080"]
        assert served.cluster == ()

    def test_a_policy_local_falls_back_to_local_draining_endpoints(self) -> None:
        ending = msgspec.structs.replace(self.local, ready=False, terminating=True)
        served = one(service(node_port=30080, external_local=True), ending, "10.42.1.1")

        assert (targets(served.local), targets(served.cluster)) == (["10.42.0.1:8080"], ["10.42.1.1:8080"])
        assert targets(served.reachable) == ["10.42.0.1:8080", "10.42.1.1:8080"]

    def test_two_families_are_served_apart(self) -> None:
        web = service(cluster_ips=("10.43.0.5", "fd43::5"), external_ips=("1.2.3.4", "fd01::1"))
        six = endpoints_of(web, SliceEndpoint("fd42::1"), family=6, name="six")

        four_port, six_port = serve(web, [endpoints_of(web, "10.42.0.1"), six], NODE).ports

        assert (four_port.external_ips, targets(four_port.cluster)) == (("1.2.3.4",), ["10.42.0.1:8080"])
        assert (six_port.external_ips, targets(six_port.cluster)) == (("fd01::1",), ["[fd42::1]:8080"])

    def test_a_range_with_an_address_of_the_node_is_noticed(self) -> None:
        assert one(service(source_ranges=("192.168.2.0/24",)), "10.42.0.1").node_in_ranges
        assert not one(service(source_ranges=("192.168.3.0/24",)), "10.42.0.1").node_in_ranges

    def test_health_checks_count_distinct_ready_addresses_on_this_node(self) -> None:
        web = service(external_local=True, node_port=30080, health_check_node_port=32000)
        ending = SliceEndpoint("10.42.0.2", node="here", ready=False, terminating=True)
        slices = [endpoints_of(web, self.local, ending, "10.42.1.1"), endpoints_of(web, self.local, name="b")]

        check = serve(web, slices, NODE).health_check

        assert check is not None and check.local_endpoints == 1

    def test_flows_may_stay_with_all_that_serve(self) -> None:
        ending = SliceEndpoint("10.42.0.2", ready=False, terminating=True)
        dead = SliceEndpoint("10.42.0.3", ready=False, serving=False, terminating=True)

        assert one(service(), self.local, ending, dead).serving == ("10.42.0.1:8080", "10.42.0.2:8080")


class TestKnown:
    def known(self) -> Known:
        known = Known("here")
        known.see_services([raw(service_json())])
        known.see_slices([raw(slice_json("web", "10.42.0.1"))])
        return known

    def served(self, known: Known) -> dict[str, list[str]]:
        return {
            name: targets(port.cluster)
            for (_, name), served in known.desired().services.items()
            for port in served.ports
        }

    def test_a_service_and_its_slice_meet_in_either_order(self) -> None:
        known = Known("here")
        known.see_slices([raw(slice_json("web", "10.42.0.1"))])
        known.see_services([raw(service_json())])

        assert {"web": ["10.42.0.1:8080"]} == self.served(known) == self.served(self.known())

    def test_the_same_object_again_changes_nothing(self) -> None:
        known = self.known()
        known.desired()
        known.see_service("MODIFIED", raw(service_json()))
        known.see_slices([raw(slice_json("web", "10.42.0.1"))])

        assert set() == known.changed

    def test_a_new_list_removes_what_it_does_not_hold(self) -> None:
        known = self.known()
        known.desired()
        known.see_slices([])
        assert self.served(known) == {"web": []}
        known.see_services([])
        assert self.served(known) == {}

    def test_a_deleted_slice_leaves_the_others(self) -> None:
        known = self.known()
        known.see_slice("ADDED", raw(slice_json("web", "10.42.0.2", name="second")))
        known.see_slice("DELETED", raw(slice_json("web", "10.42.0.1")))

        assert self.served(known) == {"web": ["10.42.0.2:8080"]}

    def test_a_slice_may_move_to_another_service(self) -> None:
        known = self.known()
        known.see_service("ADDED", raw(service_json("other", clusterIPs=["10.43.0.6"])))
        known.see_slice("MODIFIED", raw(slice_json("other", "10.42.0.1", name="web-1")))

        assert self.served(known) == {"web": [], "other": ["10.42.0.1:8080"]}

    def test_an_object_that_becomes_unusable_is_withdrawn_and_told(self) -> None:
        known = self.known()
        known.see_service("MODIFIED", raw(service_json(ports=[{"port": 0}])))

        assert self.served(known) == {}
        assert known.complaints == [
            "Service default/web: ports[0].port 0 is not a port from 1 to 65535; the object is not served"
        ]

    def test_one_bad_object_does_not_stop_the_others(self) -> None:
        known = Known("here")
        bad: Any = {
            "metadata": {"name": "x y", "namespace": "default"},
            "spec": {"clusterIPs": ["10.43.0.9"]},
        }
        known.see_services([raw(bad), raw([]), raw(service_json())])

        assert list(self.served(known)) == ["web"]

    def test_a_new_zone_decides_everything_anew(self) -> None:
        known = self.known()
        known.desired()
        known.see_node(
            "MODIFIED",
            raw(
                {
                    "metadata": {"name": "here", "labels": {"topology.kubernetes.io/zone": "a"}},
                    "status": {"addresses": [{"type": "InternalIP", "address": "192.168.2.114"}]},
                }
            ),
        )

        assert {("default", "web")} == known.changed
        assert ThisNode("here", ("192.168.2.114",), "a") == known.node

    def test_trigger_times_are_kept_for_the_latency_metric(self) -> None:
        value = slice_json("web", "10.42.0.7")
        value["metadata"]["annotations"] = {
            "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
        }
        known = self.known()
        known.see_slice("MODIFIED", raw(json.loads(json.dumps(value))))

        assert known.triggers == ["2026-01-01T00:00:00Z"]
