"""One contract for every data plane: the fake and the kernel are asked the same questions.

What the kernel serves is read back with the system's own tools, from iptables-save by following the
chains and
from nft by following the rows, so it is what packets would meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from implementation.dataplane import Dataplane, DataplaneError
from implementation.dataplane.fake import Fake
from implementation.dataplane.iptables import Iptables, restore
from implementation.dataplane.iptables.names import Style
from implementation.dataplane.iptables.tool import Tool
from implementation.dataplane.nftables import Nftables
from implementation.dataplane.userspace import Userspace
from implementation.objects import ServicePort, SliceEndpoint, SlicePort
from implementation.state.desired import Desired
from implementation.tests.build import OPTIONS, ROWS, desired, endpoints_of, service
from implementation.tests.lab import inside, sh
from implementation.tests.nftables import listing
from implementation.tests.userspace import doorways

PORTS = 150
POD0, POD1 = SliceEndpoint("10.42.0.2", node="here"), SliceEndpoint("10.42.1.3", node="there")


def followed(nat: dict[str, list[str]], chain: str) -> list[str]:
    """The endpoints a chain of a Service leads to in the end, in order, each once."""
    found: dict[str, None] = {}
    for rule in nat[chain]:
        target = rule.rsplit("-j ", 1)[-1]
        if target.startswith("DNAT --to-destination "):
            found[target.split(" ")[-1]] = None
        elif (
            target.startswith(("KUBE-SVC", "KUBE-SVL", "KUBE-SEP", "KUBE-EXT"))
            and "external destinations" not in rule
        ):
            found.update(dict.fromkeys(followed(nat, target)))
    return list(found)


def fate(rule: str, nat: dict[str, list[str]]) -> str:
    target = rule.rsplit("-j ", 1)[-1].split(" ", maxsplit=1)[0]
    return target.lower() if target in ("REJECT", "DROP") else "-> " + ",".join(followed(nat, target))


def kernel_dump() -> list[str]:
    """What the kernel serves, in the words of the fake."""
    saved = restore.read(sh("iptables-nft-save"))
    nat, lines = saved["nat"], set()
    for table, chain in (
        ("nat", "KUBE-SERVICES"),
        ("nat", "KUBE-NODEPORTS"),
        ("filter", "KUBE-SERVICES"),
        ("filter", "KUBE-EXTERNAL-SERVICES"),
    ):
        for rule in saved[table][chain]:
            port = re.search(r"-p (\w+) .*--dport (\d+)", rule)
            to = re.search(r"-d ([\d.]+)/32", rule)
            if port and not rule.endswith("KUBE-MARK-MASQ") and fate(rule, nat) != "-> ":
                lines.add(f"{port[1]} {to[1] if to else 'node'}:{port[2]} {fate(rule, nat)}")
    return sorted(lines)


def steps() -> list[Desired]:
    """A life of some Services."""
    web, dns = service(node_port=30080), service("dns", "10.43.0.6", 53, protocol="UDP", affinity_seconds=10)
    local = service("local", "10.43.0.7", node_port=30081, external_local=True, external_ips=("1.2.3.4",))
    inner = service("inner", "10.43.0.8", internal_local=True)
    return [
        desired((web, []), (dns, [endpoints_of(dns, POD0)])),
        desired((web, [endpoints_of(web, POD0, POD1)]), (dns, [endpoints_of(dns, POD0, POD1)])),
        desired(
            (web, [endpoints_of(web, POD1)]),
            (local, [endpoints_of(local, POD1)]),
            (inner, [endpoints_of(inner, POD1)]),
        ),
        desired((local, [endpoints_of(local, POD0)]), (inner, [endpoints_of(inner, POD0, POD1)])),
        desired(
            (local, []),
            (msgspec.structs.replace(web, ports=service(port=81).ports), [endpoints_of(web, POD0)]),
        ),
        desired(),
    ]


def lived(dataplane: Dataplane, dump: Callable[[], list[str]]) -> Any:
    """What is served after each step, what a second apply changes, and whether a full write differs."""
    seen = []
    for wanted in steps():
        applied = dataplane.apply(wanted)
        again = dataplane.apply(wanted)
        after = dump()
        dataplane.forget()
        full = dataplane.apply(wanted)
        seen.append(
            {
                "dump": after,
                "changed": sorted("/".join(key) for key in applied.services),
                "again": again.written,
                "full": [applied.full, again.full, full.full],
                "same": after == dump(),
                "intact": dataplane.intact(),
            }
        )
    return seen


def in_kernel(style: str) -> Any:
    sh("ip link set lo up")
    return lived(Iptables(msgspec.structs.replace(OPTIONS, style=Style(style))), kernel_dump)


def in_rows() -> Any:
    sh("ip link set lo up")
    return lived(Nftables(ROWS), listing.dump)


def in_sockets() -> Any:
    sh("ip link set lo up")
    dataplane = Userspace(ROWS)
    return lived(dataplane, lambda: doorways.dump(dataplane))


def in_memory() -> Any:
    fake = Fake()
    return lived(fake, fake.dump)


EXPECTED = [
    ["tcp 10.43.0.5:80 reject", "tcp node:30080 reject", "udp 10.43.0.6:53 -> 10.42.0.2:8080"],
    [
        "tcp 10.43.0.5:80 -> 10.42.0.2:8080,10.42.1.3:8080",
        "tcp node:30080 -> 10.42.0.2:8080,10.42.1.3:8080",
        "udp 10.43.0.6:53 -> 10.42.0.2:8080,10.42.1.3:8080",
    ],
    [
        "tcp 1.2.3.4:80 drop",
        "tcp 10.43.0.5:80 -> 10.42.1.3:8080",
        "tcp 10.43.0.7:80 -> 10.42.1.3:8080",
        "tcp 10.43.0.8:80 drop",
        "tcp node:30080 -> 10.42.1.3:8080",
        "tcp node:30081 drop",
    ],
    [
        "tcp 1.2.3.4:80 -> 10.42.0.2:8080",
        "tcp 10.43.0.7:80 -> 10.42.0.2:8080",
        "tcp 10.43.0.8:80 -> 10.42.0.2:8080",
        "tcp node:30081 -> 10.42.0.2:8080",
    ],
    [
        "tcp 1.2.3.4:80 reject",
        "tcp 10.43.0.5:81 -> 10.42.0.2:8080",
        "tcp 10.43.0.7:80 reject",
        "tcp node:30081 reject",
    ],
    [],
]


@pytest.fixture(
    params=[
        "fake",
        pytest.param("current", marks=pytest.mark.kernel),
        pytest.param("1.18", marks=pytest.mark.kernel),
        pytest.param("rows", marks=pytest.mark.kernel),
        pytest.param("sockets", marks=pytest.mark.kernel),
    ]
)
def life(request: pytest.FixtureRequest) -> Any:
    """The life of a data plane: in memory, or in the kernel with rows or with chains of one style."""
    if request.param in ("rows", "sockets"):
        return inside({"rows": in_rows, "sockets": in_sockets}[request.param])
    return in_memory() if request.param == "fake" else inside(in_kernel, request.param)


def test_every_data_plane_keeps_the_contract(life: Any) -> None:
    assert [step["dump"] for step in life] == EXPECTED
    assert all(step["same"] and step["intact"] and step["again"] == 0 for step in life)
    assert life[0]["full"] == [True, False, True]
    assert life[2]["changed"] == ["default/dns", "default/inner", "default/local", "default/web"]


def many() -> Any:
    sh("ip link set lo up")
    services = [service(f"s{n}", f"10.43.1.{n}") for n in range(150)]
    wanted = desired(*((one, [endpoints_of(one, POD0, POD1)]) for one in services))
    dataplane = Iptables(OPTIONS)
    dataplane.apply(wanted)
    first = kernel_dump()
    dataplane.apply(desired())
    return [
        len(first),
        all(line.endswith("-> 10.42.0.2:8080,10.42.1.3:8080") for line in first),
        kernel_dump(),
    ]


@pytest.mark.kernel
def test_without_roots_rights_many_services_are_written_in_steps() -> None:
    assert inside(many, as_nobody=True) == [150, True, []]


def ipv6() -> Any:
    sh("ip link set lo up")
    both = service(cluster_ips=("10.43.0.5", "fd43::5"), node_port=30080)
    slices = [endpoints_of(both, POD0), endpoints_of(both, SliceEndpoint("fd42::2"), family=6, name="six")]
    dataplane = Iptables(OPTIONS)
    applied = dataplane.apply(desired((both, slices)))
    full = sh("ip6tables-nft-save -t nat")
    dataplane.apply(desired())
    gone = sh("ip6tables-nft-save -t nat")
    again = Iptables(OPTIONS)
    again.cleanup()
    return [[part.family for part in applied.parts], full, gone, sh("ip6tables-nft-save -t nat")]


def told_late() -> Any:
    def refuse(_tool: Tool, _text: str) -> None:
        raise DataplaneError("the tool was told to fail")

    plane, right, (first, second, *_) = Iptables(OPTIONS), Tool.restore, steps()
    plane.apply(first)
    Tool.restore = refuse  # type: ignore[method-assign]
    with pytest.raises(DataplaneError):
        plane.apply(second)
    Tool.restore = right  # type: ignore[method-assign]
    plane.forget()
    return ["/".join(key) for key in plane.apply(second).services]


@pytest.mark.kernel
def test_what_changed_in_an_apply_that_failed_is_told_by_the_next() -> None:
    assert inside(told_late) == ["default/dns", "default/web"]


@pytest.mark.kernel
def test_ipv6_is_served_beside_ipv4_and_taken_away_with_it() -> None:
    families, full, gone, clean = inside(ipv6)

    assert families == [4, 6]
    assert "-d fd43::5/128 -p tcp" in full and "--to-destination [fd42::2]:8080" in full
    assert "! -d ::1/128" in full
    assert "KUBE-SVC" not in gone and "KUBE-SERVICES" not in clean


def wide(mode: str) -> Any:
    """A Service of very many ports, over several slices, which are then renamed, renumbered and changed in
    protocol."""
    sh("ip link set lo up")
    dataplane, dump = planes()[mode]
    seen = []
    for name, first, protocol in (
        ("a", 1000, "TCP"),
        ("b", 1000, "TCP"),
        ("b", 2000, "TCP"),
        ("b", 2000, "UDP"),
    ):
        ports = tuple(ServicePort(f"{name}{n}", protocol, first + n, 0) for n in range(PORTS))
        web = service(ports=ports)
        halves = [
            [SlicePort(port.name, protocol, 8000 + at) for at, port in enumerate(ports) if at % 2 == odd]
            for odd in (0, 1)
        ]
        slices = [endpoints_of(web, POD0, name=f"half-{at}", ports=half) for at, half in enumerate(halves)]
        dataplane.apply(desired((web, slices)))
        found = dump()
        seen.append([len(found), *sorted(found)[:1], *sorted(found)[-1:]])
    return seen


def planes() -> dict[str, tuple[Dataplane, Callable[[], list[str]]]]:
    sockets = Userspace(ROWS)
    return {
        "current": (Iptables(OPTIONS), kernel_dump),
        "rows": (Nftables(ROWS), listing.dump),
        "sockets": (sockets, lambda: doorways.dump(sockets)),
    }


@pytest.mark.kernel
@pytest.mark.parametrize("mode", ["current", "rows", "sockets"])
def test_more_than_a_hundred_ports_may_all_change_name_number_and_protocol(mode: str) -> None:
    def expected(first: int, protocol: str) -> list[Any]:
        last = PORTS - 1
        told = [f"{protocol} 10.43.0.5:{first + n} -> 10.42.0.2:{8000 + n}" for n in (0, last)]
        return [PORTS, *told]

    assert inside(wide, mode) == [expected(1000, "tcp")] * 2 + [expected(2000, "tcp"), expected(2000, "udp")]
