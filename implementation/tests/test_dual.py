"""Mode nftables in IPv6 and in both families at once, by real packets; as root and as nobody."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from implementation.dataplane.nftables import Nftables
from implementation.dataplane.nftables.kernel import Kernel
from implementation.objects import EndpointSlice, Service, SliceEndpoint
from implementation.state.desired import Desired, ThisNode
from implementation.tests.build import ROWS, desired, endpoints_of, service
from implementation.tests.lab import (
    NODE_IP,
    NODE_IP6,
    OUTSIDE_IP,
    OUTSIDE_IP6,
    Node,
    ask,
    ask_udp,
    echo,
    inside,
)
from implementation.tests.nftables import listing

pytestmark = pytest.mark.kernel
PATIENT = 5.0  # seconds an answer may take on a busy machine
VIPS = ("10.43.0.5", "fd43::5")
HERE = ThisNode("here", (NODE_IP, NODE_IP6))
PODS = {4: ("10.42.0.2", "10.42.0.3"), 6: ("fd42::2", "fd42::3")}
FAMILIES = {4: (VIPS[0], NODE_IP, OUTSIDE_IP, "10.42.0.1"), 6: (VIPS[1], NODE_IP6, OUTSIDE_IP6, "fd42::1")}


@pytest.fixture(params=["root", "nobody"])
def who(request: pytest.FixtureRequest) -> bool:
    """True when the test shall run without any right of root's."""
    return bool(request.param == "nobody")


def pods() -> None:
    """The node of both families, with an echo of each in every pod."""
    Node(2, dual=True)
    for number in (0, 1):
        for host in ("0.0.0.0", "::"):
            if host == "0.0.0.0":
                echo(f"pod{number}", 8080, f"pod{number}", host)
            else:
                echo(f"pod{number}", 8081, f"pod{number}", host)


def slices(of: Service, *which: int, families: tuple[int, ...] = (4, 6)) -> list[EndpointSlice]:
    """The slices of a Service, one a family, with these pods."""
    return [
        endpoints_of(of, *(SliceEndpoint(PODS[family][one], node="here") for one in which), family=family,
                     name=f"{of.name}-{family}", port=8080 if family == 4 else 8081)
        for family in families
    ]  # fmt: skip


def wanted(*pairs: tuple[Service, list[EndpointSlice]]) -> Desired:
    """What is desired on the node of both families."""
    return msgspec.structs.replace(desired(*pairs, node=HERE), node_port_addresses=HERE.addresses)


def served(family: int) -> Any:
    vip, node, outside, bridge = FAMILIES[family]
    pods()
    web = service(cluster_ips=VIPS, node_port=30080)
    dns = service("dns", cluster_ips=("10.43.0.6", "fd43::6"), protocol="UDP")
    Nftables(ROWS).apply(wanted((web, slices(web, 0, 1)), (dns, slices(dns, 1))))
    return {
        "pod": Counter(ask("pod0", vip, 80, PATIENT) for _ in range(60)),
        "node": ask("", vip, 80, PATIENT).split()[0][:3],
        "outside": {ask("outside", node, 30080, PATIENT).split()[1] for _ in range(20)} == {bridge},
        "loopback": ask("", "127.0.0.1" if family == 4 else "::1", 30080),
        "udp": ask_udp("outside", "10.43.0.6" if family == 4 else "fd43::6", 80),
        "closed": [ask("pod0", vip, 81), ask_udp("pod0", vip, 80)],
        "addresses": [outside, bridge],
    }


@pytest.mark.parametrize("family", [4, 6])
def test_a_service_of_both_families_is_served_in_each(family: int, who: bool) -> None:
    seen = inside(served, family, as_nobody=who)

    bridge = FAMILIES[family][3]
    assert set(seen["pod"]) == {f"pod0 {bridge}", f"pod1 {PODS[family][0]}"}  # itself: masqueraded
    assert min(seen["pod"].values()) > 10
    assert seen["node"] == "pod" and seen["outside"]
    assert seen["loopback"] == "refused"
    assert seen["udp"] == f"pod1 {bridge}"
    assert seen["closed"] == ["refused", "refused"]


def families_apart() -> Any:
    """One family loses its endpoints, then its address; the other is served on."""
    pods()
    dataplane, web = Nftables(ROWS), service(cluster_ips=VIPS)
    dataplane.apply(wanted((web, slices(web, 0, 1))))
    dataplane.apply(wanted((web, slices(web, 0, families=(4,)))))
    first = [ask("outside", vip, 80, PATIENT).split()[0] for vip in VIPS]
    dataplane.apply(wanted((web, slices(web, 1, families=(6,)))))
    second = [ask("outside", vip, 80, PATIENT).split()[0] for vip in VIPS]
    single = service(cluster_ips=VIPS[1:])
    dataplane.apply(wanted((single, slices(single, 0, families=(6,)))))
    return [first, second, listing.dump(), listing.dump("ip6")]


def test_each_family_has_endpoints_and_addresses_of_its_own() -> None:
    assert inside(families_apart) == [
        ["pod0", "refused"],
        ["refused", "pod1"],
        [],
        ["tcp fd43::5:80 -> fd42::2:8081"],
    ]


def policies() -> Any:
    """Policy Local, source ranges and affinity in IPv6."""
    pods()
    local = service("local", cluster_ips=("10.43.0.7", "fd43::7"), node_port=30081, external_local=True)
    away = service("away", cluster_ips=("10.43.0.8", "fd43::8"), node_port=30082, external_local=True)
    gate = service("gate", cluster_ips=("10.43.0.9", "fd43::9"), virtual_ips=("fd00:9::1", "fd00:9::2"),
                   source_ranges=("fd00:2::/64",))  # fmt: skip
    shut = service("shut", cluster_ips=("10.43.0.10", "fd43::a"), virtual_ips=("fd00:9::3",),
                   source_ranges=("fd00:7::/64",))  # fmt: skip
    stays = service("stays", cluster_ips=("10.43.0.11", "fd43::b"), affinity_seconds=100)
    elsewhere = [endpoints_of(away, SliceEndpoint("fd42:1::9", node="there"), family=6)]
    pairs = [(one, slices(one, 0, 1)) for one in (local, gate, shut, stays)]
    Nftables(ROWS).apply(wanted(*pairs, (away, elsewhere)))
    return {
        "local": {ask("outside", NODE_IP6, 30081, PATIENT).split()[1] for _ in range(10)} == {OUTSIDE_IP6},
        "away": ask("outside", NODE_IP6, 30082, 0.3),
        "gate": ask("outside", "fd00:9::2", 80, PATIENT).split()[0][:3],
        "shut": ask("outside", "fd00:9::3", 80, 0.3),
        "stays": len({ask("outside", "fd43::b", 80, PATIENT).split()[0] for _ in range(20)}),
    }


def test_policies_ranges_and_affinity_hold_in_ipv6(who: bool) -> None:
    assert inside(policies, as_nobody=who) == {
        "local": True, "away": "timeout", "gate": "pod", "shut": "timeout", "stays": 1,
    }  # fmt: skip


def restarted() -> Any:
    pods()
    web = service(cluster_ips=VIPS, affinity_seconds=100, node_port=30080)
    state = wanted((web, slices(web, 0, 1)))
    Nftables(ROWS).apply(state)
    before = [listing.dump(family) for family in ("ip", "ip6")]
    successor = Nftables(ROWS, Kernel(buffer=212_992))
    written = successor.apply(state).written
    successor.cleanup()
    return [written, [len(lines) for lines in before], ask("", VIPS[1], 80, 0.2) != ""]


def test_a_successor_finds_both_families_as_they_are() -> None:
    assert inside(restarted) == [0, [2, 2], True]
