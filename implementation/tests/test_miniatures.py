"""Every miniature is the reference but for one decision, and is described where the judge looks for it."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from implementation import cli, modes, watch
from implementation.dataplane.iptables import chains, layout, names, restore
from implementation.dataplane.iptables.layout import Ruleset
from implementation.node import conntrack
from implementation.objects import Service, ServicePort, SliceEndpoint
from implementation.state import merge, policy, serve, topology, usable
from implementation.tests.build import NODE, OPTIONS, endpoints_of, service

ROOT = Path(__file__).resolve().parents[1]
MINIATURES = sorted((ROOT / "miniatures").glob("*.toml"))
DESCRIPTORS = sorted((ROOT / "descriptors").glob("*.toml"))
ROOMS: list[ModuleType] = [
    chains, layout, names, restore, serve, merge, policy, topology, usable, modes, conntrack, watch,
]  # fmt: skip

# The rules of the Services there are do not show what is done to the data plane itself, or what is not read.
OVER_TIME = {
    "flushes_at_start", "keeps_deleted_services", "writes_twice", "keeps_stale_flows",
    "ends_all_flows", "healthy_everywhere", "keeps_health_checks", "serves_the_headless",
}  # fmt: skip


def program(path: Path) -> str:
    """The proxy a descriptor starts."""
    return str(tomllib.loads(path.read_text())["per-node"][0]["python"])


PROXIES = [path for path in MINIATURES if program(path).startswith("implementation.miniatures.")]


def pieces(one: Service, *endpoints: SliceEndpoint, port: int = 8080) -> list[chains.Pieces]:
    """The rules of every port of a Service."""
    ports = serve.serve(one, [endpoints_of(one, *endpoints, port=port)], NODE).ports
    return [chains.pieces(port, OPTIONS, speaking=True) for port in ports]


def of_both_families() -> list[chains.Pieces]:
    """The rules of Services with IPv6 addresses: served in both families, in one only, and one given up."""
    four, six = ("10.42.0.2", "10.42.1.3"), ("fd00:10:42::2", "fd00:10:42:1::3")
    found = []
    for name, number, slices, once in (
        ("both", 23, (four, six), 2), ("half", 24, (four,), 2), ("halved", 27, (four, six), 1),
    ):
        addresses = (f"10.43.0.{number}", f"fd00:10:43::{number}")
        for kept in (addresses, addresses[:once]):  # as it was, and as it is
            one = service(name, cluster_ips=kept, affinity_seconds=60)
            parts = [endpoints_of(one, *each, family=family, name=f"{name}-{family}")
                     for each, family in zip(slices, (4, 6), strict=False)]
            ports = serve.serve(one, parts, NODE).ports
        found += [chains.pieces(port, OPTIONS, speaking=True) for port in ports]
    return found


def rules() -> Ruleset:
    """The rules for a small cluster that holds every kind of Service."""
    services = [
        service("a", "10.43.0.4", 53, protocol="UDP"),
        service("web", node_port=30080),
        service("b", "10.43.0.7"),
        service("empty", "10.43.0.6", node_port=30081),
        service("names", "10.43.0.11", 53, protocol="UDP", node_port=30053),
        service("far", "10.43.0.8", 8080),
        service("balanced", "10.43.0.9", virtual_ips=("192.168.2.240",), node_port=30084),
        service("sticky", "10.43.0.12", affinity_seconds=60),
        service("wide", "10.43.0.13"),
        service("unready", "10.43.0.14"),
        service("inner", "10.43.0.16", internal_local=True, external_ips=("203.0.113.9",)),
        service("partly", "10.43.0.17"),
        service("hinted", "10.43.0.18"),
        service("silent", "10.43.0.19", 53, protocol="UDP"),
        service("ending", "10.43.0.20"),
        service("leaving", "10.43.0.21"),
        service("open", "10.43.0.22", virtual_ips=("192.168.2.241",), source_ranges=("192.0.2.0/24",)),
        service("picky", "10.43.0.10", node_port=30082, external_local=True),
    ]
    here, there = SliceEndpoint("10.42.0.2", node="here"), SliceEndpoint("10.42.1.3", node="there")
    draining = msgspec.structs.replace(there, ready=False, terminating=True)
    special = {
        "empty": [], "silent": [], "ending": [draining], "leaving": [here, draining],
        "wide": [here, there, *(SliceEndpoint(f"10.42.1.{n}", node="there") for n in (8, 9))],
        "partly": [here, msgspec.structs.replace(there, ready=False)],
        "hinted": [msgspec.structs.replace(e, nodes=(e.node,)) for e in (here, there)],
        "unready": [msgspec.structs.replace(there, ready=False)],
        **{name: [there] for name in ("web", "far", "balanced", "picky")},
    }
    found = []
    for one in services:
        endpoints = special.get(one.name, [here, there])
        serve.serve(one, [endpoints_of(one, *endpoints[:1])], NODE)  # the others join later
        found += pieces(one, *endpoints)
    ports = (ServicePort("", "TCP", 80, 0), ServicePort("x", "TCP", 81, 0))
    before = service(
        "changed", "10.43.0.15", ports=ports, internal_local=True, external_ips=("203.0.113.8",)
    )
    pieces(before, there, here, port=9090)  # the second port and endpoint go, and the target port changes
    found += pieces(service("changed", "10.43.0.15"), there)
    found += of_both_families()
    for name, addresses in (("named", ("10.43.0.25",)), ("renamed", ())):
        pieces(service(name, cluster_ips=() if addresses else ("10.43.0.26",)), there)
        found += pieces(service(name, cluster_ips=addresses), there)
    return layout.ruleset(found, 4, OPTIONS, None)


@pytest.mark.parametrize("path", [*MINIATURES, *DESCRIPTORS], ids=lambda path: path.stem)
def test_a_descriptor_is_named_as_its_file_and_names_a_program_that_exists(path: Path) -> None:
    described = tomllib.loads(path.read_text())
    module, _, function = program(path).partition(":")

    assert path.stem == described["name"]
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("path", PROXIES, ids=lambda path: path.stem)
def test_a_miniature_replaces_exactly_one_decision_and_that_shows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = rules()
    before = {(room, name): value for room in ROOMS for name, value in vars(room).items()
              if callable(value) or isinstance(value, watch.Kind)}  # functions, and what is read
    for (room, name), value in before.items():
        monkeypatch.setattr(room, name, value)  # so that it is put back at the end
    started: list[list[str] | None] = []
    monkeypatch.setattr(cli, "main", lambda args: started.append(args) or 0)
    module = importlib.import_module(program(path).partition(":")[0])

    assert module.main(["--x"]) == 0

    assert started == [["--x"]]
    assert sum(getattr(room, name) is not value for (room, name), value in before.items()) == 1
    assert right != rules() or module.__name__.rpartition(".")[2] in OVER_TIME


def test_each_of_the_judges_first_rows_has_a_miniature() -> None:
    caught = {row for path in MINIATURES for row in tomllib.loads(path.read_text())["miniature"]["caught-by"]}

    assert {"CLUSTERIP-01", "DNS-01", "BALANCE-02", "NODEPORT-02", "ENDPOINTS-01"} <= caught
    assert len(MINIATURES) >= 8
