"""The order of candidates is MetalLB's, and who is a candidate follows the API."""

from typing import Any

import pytest

from implementation.loadbalancer.elect import Endpoint, candidates, interfaces, order
from implementation.objects.balanced import BalancedNode
from implementation.tests.loadbalancer.test_pools import advert

ABC = ("node-a", "node-b", "node-c")
KIND = ("kind-control-plane", "kind-worker", "kind-worker2", "kind-worker3")
NODES = [
    BalancedNode("node-a", "10.0.0.1", (("zone", "x"),)),
    BalancedNode("node-b", "10.0.0.2"),
    BalancedNode("node-c", "10.0.0.3", excluded=True),
    BalancedNode("node-d", ""),
]
ALL = [advert()]


@pytest.mark.parametrize(
    ("nodes", "address", "expected"),
    [
        (ABC, "10.99.0.100", "b c a"),
        (ABC, "10.99.0.101", "c a b"),
        (ABC, "10.99.0.102", "c a b"),
        (ABC, "10.99.0.103", "b c a"),
        (KIND, "172.18.255.200", "worker2 worker worker3 control-plane"),
        (KIND, "192.168.1.240", "control-plane worker2 worker3 worker"),
    ],
)
def test_the_order_is_that_of_metallb(nodes: Any, address: Any, expected: Any) -> None:
    assert " ".join(name.split("-", 1)[1] for name in order(nodes, address)) == expected


def test_the_loss_of_one_that_is_not_first_changes_nothing_for_the_first() -> None:
    for number in range(50):
        first, *others = order(KIND, f"10.0.0.{number}")
        for other in others:
            assert order([n for n in KIND if n != other], f"10.0.0.{number}")[0] == first


def test_addresses_spread_over_the_nodes() -> None:
    firsts = [order(ABC, f"10.1.{n // 250}.{n % 250}")[0] for n in range(3000)]
    assert all(800 < firsts.count(node) < 1200 for node in ABC)


def test_nobody_is_a_candidate_without_a_usable_endpoint_or_an_advertisement() -> None:
    assert candidates(NODES, [], ALL, external_local=False) == []
    assert candidates(NODES, [Endpoint("node-a", False)], ALL, external_local=False) == []
    assert candidates(NODES, [Endpoint("node-a", True)], [], external_local=False) == []


def test_with_cluster_policy_every_node_in_service_is_one() -> None:
    assert candidates(NODES, [Endpoint("node-c", True)], ALL, external_local=False) == ["node-a", "node-b"]


def test_with_local_policy_only_nodes_with_a_usable_endpoint() -> None:
    endpoints = [Endpoint("node-a", False), Endpoint("node-b", True), Endpoint("node-c", True)]
    assert candidates(NODES, endpoints, ALL, external_local=True) == ["node-b"]


def test_node_selectors_of_any_advertisement_select() -> None:
    endpoints, none = [Endpoint("node-a", True)], {"matchLabels": {"zone": "y"}}
    picked = advert(nodeSelectors=[none, {"matchLabels": {"zone": "x"}}])
    assert candidates(NODES, endpoints, [picked], external_local=False) == ["node-a"]
    assert candidates(NODES, endpoints, [picked, advert()], external_local=False) == ["node-a", "node-b"]
    assert candidates(NODES, endpoints, [advert(nodeSelectors=[none])], external_local=False) == []


def test_interfaces_are_united_and_one_without_a_list_means_all() -> None:
    assert interfaces([advert(interfaces=["eth0"]), advert(interfaces=["eth1"])]) == {"eth0", "eth1"}
    assert interfaces([advert(interfaces=["eth0"]), advert()]) is None
