"""Real packets through rules in the kernel, in namespaces of their own; as root and as nobody."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from implementation.dataplane import Answering, Closing, Dataplane, Inheriting
from implementation.dataplane.iptables import Iptables
from implementation.dataplane.iptables.names import Style
from implementation.dataplane.nftables import Nftables
from implementation.dataplane.userspace import Userspace
from implementation.node import addresses, conntrack, sysctls
from implementation.objects import EndpointSlice, Service, SliceEndpoint
from implementation.state.desired import Desired
from implementation.tests.build import NODE, OPTIONS, ROWS, desired, endpoints_of, service
from implementation.tests.lab import NODE_IP, OUTSIDE_IP, Node, ask, ask_udp, echo, inside, netns, sh

pytestmark = pytest.mark.kernel
POD0, POD1 = SliceEndpoint("10.42.0.2", node="here"), SliceEndpoint("10.42.0.3", node="here")
ELSEWHERE = SliceEndpoint("10.42.1.9", node="there")
VIP = "10.43.0.5"


@pytest.fixture(params=["root", "nobody"])
def who(request: pytest.FixtureRequest) -> bool:
    """True when the test shall run without any right of root's."""
    return bool(request.param == "nobody")


@pytest.fixture(params=["iptables", "nftables", "userspace"])
def mode(request: pytest.FixtureRequest) -> str:
    """The mode of the data plane."""
    return str(request.param)


def prepared(mode: str = "iptables") -> Dataplane:
    Node(2)
    for number in (0, 1):
        echo(f"pod{number}", 8080, f"pod{number}")
    return of_mode(mode)


def of_mode(mode: str) -> Dataplane:
    """The data plane of a mode."""
    options = msgspec.structs.replace(ROWS, every_address=mode == "userspace")
    if mode == "iptables":
        return Iptables(OPTIONS)
    return Userspace(options) if mode == "userspace" else Nftables(options)


def wanted(mode: str, *pairs: tuple[Service, Sequence[EndpointSlice]]) -> Desired:
    """What is desired with the mode's default of where node ports are served."""
    addresses = NODE.addresses if mode == "nftables" else None
    return msgspec.structs.replace(desired(*pairs), node_port_addresses=addresses)


def cluster_ip(mode: str) -> Any:
    dataplane = prepared(mode)
    web = service(node_port=30080)
    dataplane.apply(wanted(mode, (web, [endpoints_of(web, POD0, POD1)])))
    sysctls.ensure(sysctls.ROUTE_LOCALNET, "1", "")
    return {
        "pod": Counter(ask("pod0", VIP, 80) for _ in range(60)),
        "node": ask("", VIP, 80).split()[0][:3],
        "outside": ask("outside", NODE_IP, 30080),
        "localhost": ask("", "127.0.0.1", 30080)[:3],
        "own": ask("", NODE_IP, 30080)[:3],
        "udp is another matter": ask_udp("pod0", VIP, 80, 0.1),
    }


def test_cluster_ip_and_node_port_are_served_and_masqueraded_where_needed(mode: str, who: bool) -> None:
    seen = inside(cluster_ip, mode, as_nobody=who)

    other = "10.42.0.1" if mode == "userspace" else "10.42.0.2"  # there endpoints see the node
    assert {"pod0 10.42.0.1", f"pod1 {other}"} == set(seen["pod"])  # a pod reaching itself is masqueraded
    assert min(seen["pod"].values()) > 10
    assert (seen["node"], seen["own"]) == ("pod", "pod")
    assert seen["localhost"] == ("ref" if mode == "nftables" else "pod")  # as upstream: not in mode nftables
    assert seen["outside"].split()[1] == "10.42.0.1"  # policy Cluster masquerades
    assert seen["udp is another matter"] == ("refused" if mode == "nftables" else "timeout")


def refusals(mode: str) -> Any:
    dataplane = prepared(mode)
    web, dns = service(node_port=30080), service("dns", "10.43.0.6", protocol="UDP")
    dataplane.apply(wanted(mode, (web, []), (dns, [])))
    found, worst = Counter(), 0.0
    for place, host, port in (("pod0", VIP, 80), ("", VIP, 80), ("outside", NODE_IP, 30080)) * 20:
        start = time.perf_counter()
        found[ask(place, host, port)] += 1
        worst = max(worst, time.perf_counter() - start)
    return {"tcp": found, "udp": ask_udp("pod0", "10.43.0.6", 80), "worst": worst}


def test_without_endpoints_connections_are_refused_at_once(mode: str, who: bool) -> None:
    seen = inside(refusals, mode, as_nobody=who)

    assert (seen["tcp"], seen["udp"]) == ({"refused": 60}, "refused")
    assert seen["worst"] < 0.5


def affinity(mode: str) -> Any:
    dataplane = prepared(mode)
    web = service(affinity_seconds=100)
    dataplane.apply(wanted(mode, (web, [endpoints_of(web, POD0, POD1)])))
    return [
        sorted({ask(place, VIP, 80).split()[0] for _ in range(20)}) for place in ("outside", "pod0", "pod1")
    ]


def test_a_client_stays_with_its_endpoint(mode: str, who: bool) -> None:
    assert [len(seen) for seen in inside(affinity, mode, as_nobody=who)] == [1, 1, 1]


def local_policy(mode: str) -> Any:
    dataplane = prepared(mode)
    here, away = (
        service(node_port=30080, external_local=True),
        service("away", "10.43.0.6", node_port=30081, external_local=True),
    )
    dataplane.apply(
        wanted(mode, (here, [endpoints_of(here, POD1, ELSEWHERE)]), (away, [endpoints_of(away, ELSEWHERE)]))
    )
    return {
        "seen": {ask("outside", NODE_IP, 30080) for _ in range(10)}.pop(),
        "dropped": ask("outside", NODE_IP, 30081, 0.3),
    }


def test_policy_local_keeps_the_client_address_and_drops_without_local_endpoint(mode: str, who: bool) -> None:
    as_whom = "10.42.0.1" if mode == "userspace" else OUTSIDE_IP
    assert {"seen": f"pod1 {as_whom}", "dropped": "timeout"} == inside(local_policy, mode, as_nobody=who)


def load_balancer(mode: str) -> Any:
    dataplane = prepared(mode)
    web = service(node_port=30080, virtual_ips=("192.168.2.200",), source_ranges=("192.168.2.0/24",))
    shut = service("shut", "10.43.0.6", virtual_ips=("192.168.2.201",), source_ranges=("172.16.0.0/12",))
    dataplane.apply(wanted(mode, *((s, [endpoints_of(s, POD0)]) for s in (web, shut))))
    sh(f"ip -n outside route add 192.168.2.200/31 via {NODE_IP}")
    return [
        ask("outside", "192.168.2.200", 80),
        ask("outside", "192.168.2.201", 80, 0.3),
        ask("pod1", "192.168.2.201", 80, 0.3),
    ]


def test_a_load_balancers_address_is_open_to_its_source_ranges_only(mode: str) -> None:
    assert inside(load_balancer, mode) == ["pod0 10.42.0.1", "timeout", "timeout"]


def change() -> Any:
    dataplane = prepared()
    web, other = service(), service("other", "10.43.0.6")
    sh("iptables-nft -t nat -N MINE && iptables-nft -t nat -A PREROUTING -j MINE")
    sh("iptables-nft -P FORWARD DROP")
    both = (other, [endpoints_of(other, POD0)])
    dataplane.apply(desired((web, [endpoints_of(web, POD0)]), both))
    seen = [ask("outside", VIP, 80)]
    dataplane.apply(desired((web, [endpoints_of(web, POD1)]), both))
    seen.append(ask("outside", VIP, 80))
    dataplane.apply(desired((web, []), both))
    seen.append(ask("outside", VIP, 80))
    dataplane.apply(desired(both))
    rules = sh("iptables-nft-save")
    again = Iptables(OPTIONS)
    full = again.apply(desired(both))
    same = [line for line in sh("iptables-nft-save").splitlines() if line[:1] in "-*"]
    fewer = Iptables(OPTIONS)
    fewer.apply(desired())
    left = [
        line
        for line in sh("iptables-nft-save -t nat").splitlines()
        if line.startswith((":KUBE-S", "-A PREROUTING"))
    ]
    fewer.cleanup()
    return {
        "seen": seen,
        "web": rules.count("default/web"),
        "full": full.full,
        "same": same == [line for line in rules.splitlines() if line[:1] in "-*"],
        "left": left,
        "clean": [
            line for line in sh("iptables-nft-save").splitlines() if "KUBE" in line and "FIREWALL" not in line
        ],
        "mine": "-A PREROUTING -j MINE" in sh("iptables-nft-save"),
    }


def test_changes_restart_stale_chains_and_cleanup_leave_exactly_what_they_should(who: bool) -> None:
    seen = inside(change, as_nobody=who)

    # FORWARD is closed by policy: only masqueraded and established traffic passes, as on a hardened node.
    assert seen["seen"] == ["pod0 10.42.0.1", "pod1 10.42.0.1", "refused"]
    assert seen["web"] == 0
    assert seen["full"] and seen["same"] and seen["mine"]
    assert seen["left"] == [
        ":KUBE-SERVICES - [0:0]",
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-A PREROUTING -j MINE",
    ]
    assert seen["clean"] == [":KUBE-MARK-MASQ - [0:0]", "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"]


def flushed() -> Any:
    dataplane = prepared()
    web = service()
    dataplane.apply(desired((web, [endpoints_of(web, POD0)])))
    whole = dataplane.intact()
    damage = {}
    for command in (
        "-t nat -F",
        "-t filter -F",
        "-t nat -F PREROUTING",
        "-t mangle -X KUBE-PROXY-CANARY",
        "-t filter -D FORWARD 1",
    ):
        sh(f"iptables-nft {command}")
        damage[command] = dataplane.intact()
        dataplane.forget()
        dataplane.apply(desired((web, [endpoints_of(web, POD0)])))
        damage[f"{command} repaired"] = dataplane.intact()
    return {"whole": whole, "damage": damage, "served": ask("pod1", VIP, 80)}


def test_a_foreign_flush_is_noticed_and_repaired() -> None:
    seen = inside(flushed)

    assert seen["whole"]
    assert {command: command.endswith("repaired") for command in seen["damage"]} == seen["damage"]
    assert seen["served"] == "pod0 10.42.0.3"


def answering(dataplane: Dataplane, goal: Desired) -> dict[int, conntrack.Flows]:
    """Who may answer UDP clients, as the proxy has it."""
    if isinstance(dataplane, Answering):
        return dict(dataplane.answering())
    return conntrack.served(goal.services.values())


def stale_flows(mode: str) -> Any:
    dataplane = prepared(mode)
    dns, other = (
        service("dns", protocol="UDP", node_port=30053),
        service("other", "10.43.0.6", protocol="UDP"),
    )
    reconciler = conntrack.Reconciler()

    def put(*endpoints: SliceEndpoint) -> int:
        goal = wanted(mode, (dns, [endpoints_of(dns, *endpoints)]), (other, [endpoints_of(other, POD0)]))
        dataplane.apply(goal)
        return reconciler.reconcile(answering(dataplane, goal), frozenset(addresses.local()))

    with netns("outside"):
        made = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(3)]

    def send() -> list[str]:
        return [
            ask_udp("", host, port, 0.3, one).split()[0]
            for one, (host, port) in zip(made, ((VIP, 80), (NODE_IP, 30053), ("10.43.0.6", 80)), strict=True)
        ]

    ended = [put()]
    seen = [send()]  # refused: nobody there
    ended.append(put(POD0))
    seen.append(send())
    ended.append(put(POD1))
    seen.append(send())
    ended.append(put(POD1, POD0))
    seen.append(send())
    ended.append(put())
    seen.append(send())
    return {
        "ended": ended,
        "seen": seen,
        "other": sh("conntrack -L -p udp --orig-dst 10.43.0.6 2>/dev/null").count("\n"),
    }


def test_udp_flows_follow_their_service_and_others_stay(mode: str, who: bool) -> None:
    seen = inside(stale_flows, mode, as_nobody=who)

    assert seen["seen"] == [
        ["refused", "refused", "pod0"],
        ["pod0", "pod0", "pod0"],
        ["pod1", "pod1", "pod0"],
        ["pod1", "pod1", "pod0"],
        ["refused", "refused", "pod0"],
    ]
    # The sockets of mode userspace end sessions themselves; a flow is stale when its socket is gone.
    assert seen["ended"][2:] == ([0, 0, 2] if mode == "userspace" else [2, 0, 2])
    assert seen["other"] == 1


def deleted_while_down(mode: str) -> Any:
    first = prepared(mode)
    gone, kept = (
        service("gone", protocol="UDP", node_port=30053),
        service("kept", "10.43.0.6", protocol="UDP"),
    )
    staying = (kept, [endpoints_of(kept, POD0)])
    first.apply(wanted(mode, (gone, [endpoints_of(gone, POD0)]), staying))
    with netns("outside"):
        made = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(3)]
    where = ((VIP, 80), (NODE_IP, 30053), ("10.43.0.6", 80))
    before = [ask_udp("", *to, 1, one).split()[0] for one, to in zip(made, where, strict=True)]
    if isinstance(first, Closing):
        first.close()
    second, reconciler = of_mode(mode), conntrack.Reconciler()
    goal = wanted(mode, staying)
    second.apply(goal)
    assert isinstance(second, Inheriting)
    reconciler.inherit(second.inherited())
    ended = reconciler.reconcile(answering(second, goal), frozenset(addresses.local()))
    after = [ask_udp("", *to, 0.3, one).split()[0] for one, to in zip(made, where, strict=True)]
    return {"before": before, "ended": ended, "after": after}


def test_flows_of_services_deleted_while_no_proxy_ran_are_ended(mode: str) -> None:
    seen = inside(deleted_while_down, mode)

    assert seen["before"] == ["pod0", "pod0", "pod0"]
    assert seen["ended"] == (3 if mode == "userspace" else 2)  # its sockets were the old process's
    assert "pod0" not in seen["after"][:2] and seen["after"][2] == "pod0"


def saved(style: str) -> Any:
    sh("ip link set lo up")
    web = service("nextcloud-dev-clusterip", "10.43.7.203", 8080)
    dataplane = Iptables(msgspec.structs.replace(OPTIONS, style=Style(style)))
    dataplane.apply(desired((web, [endpoints_of(web, "10.42.0.85", "10.42.1.170", port=80)]), node=NODE))
    return {
        "save": [
            line for line in sh("iptables-nft-save -t nat").splitlines() if line.startswith("-A KUBE-S")
        ],
        "list": sh("iptables-nft -t nat -L -n"),
    }


def test_iptables_shows_the_chains_of_the_post() -> None:
    seen = inside(saved, "1.18")
    name = "default/nextcloud-dev-clusterip:"
    named, sep = f'-m comment --comment "{name}"', "-A KUBE-SEP-"
    said = f'-d 10.43.7.203/32 -p tcp -m comment --comment "{name} cluster IP" -m tcp --dport 8080'

    assert [
        f"{sep}AB7UW27KCQCMC3UG -s 10.42.1.170/32 {named} -j KUBE-MARK-MASQ",
        f"{sep}AB7UW27KCQCMC3UG -p tcp {named} -m tcp -j DNAT --to-destination 10.42.1.170:80",
        f"{sep}REGCNUNS5RWEMTHB -s 10.42.0.85/32 {named} -j KUBE-MARK-MASQ",
        f"{sep}REGCNUNS5RWEMTHB -p tcp {named} -m tcp -j DNAT --to-destination 10.42.0.85:80",
        f"-A KUBE-SERVICES ! -s 10.42.0.0/16 {said} -j KUBE-MARK-MASQ",
        f"-A KUBE-SERVICES {said} -j KUBE-SVC-WNPCWQYGSYD7A5N6",
        '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last '
        'rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
        f"-A KUBE-SVC-WNPCWQYGSYD7A5N6 {named} -m statistic --mode random --probability "
        "0.50000000000 -j KUBE-SEP-REGCNUNS5RWEMTHB",
        f"-A KUBE-SVC-WNPCWQYGSYD7A5N6 {named} -j KUBE-SEP-AB7UW27KCQCMC3UG",
    ] == seen["save"]
    assert "statistic mode random probability 0.50000000000" in seen["list"]
    assert "/* default/nextcloud-dev-clusterip: cluster IP */ tcp dpt:8080" in seen["list"]
