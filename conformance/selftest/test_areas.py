"""What every requirement's file must keep to, and the pure parts of the areas."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest

from conformance import areas, asking
from conformance.areas.api import allocation
from conformance.areas.dns import names
from conformance.areas.seed import nat_table
from conformance.evidence import Outcome
from conformance.probes import Attempts
from conformance.requirements import Level, locked_ids, registry

FOLDER = Path(areas.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
areas.load_areas()
OURS = {id: one for id, one in registry().items() if one.body.__module__.startswith("conformance.areas")}


@pytest.mark.parametrize("one", OURS.values(), ids=list(OURS))
def test_a_requirement_says_what_must_be_seen_in_at_most_thirty_lines(one: Any) -> None:
    assert "MUST" in one.sentence
    assert one.id in locked_ids()
    assert one.level in set(Level)
    assert len(inspect.getsource(one.body).splitlines()) <= 34  # thirty, the decorator and the sentence


@pytest.mark.parametrize("file", FILES, ids=[path.relative_to(FOLDER).as_posix() for path in FILES])
def test_a_body_never_sleeps_tries_again_or_talks_to_the_network_itself(file: Any) -> None:
    tree = ast.parse(file.read_text())
    called = {node.func.attr for node in ast.walk(tree)
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    plain = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    imported = {name.name.split(".")[0] for node in plain for name in node.names}
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported |= {str(node.module).split(".")[0] for node in parts}
    assert "sleep" not in called
    assert not imported & {"time", "socket", "subprocess", "requests", "kubernetes", "clusters"}


@pytest.mark.parametrize("file", FILES, ids=[path.relative_to(FOLDER).as_posix() for path in FILES])
def test_areas_know_nothing_of_each_other(file: Any) -> None:
    own = file.relative_to(FOLDER).parts[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conformance.areas."):
            assert node.module.split(".")[2] == own


def test_the_first_requirements_are_there() -> None:
    wanted = {"CLUSTERIP-01", "DNS-01", "BALANCE-02", "NODEPORT-02", "API-01", "ENDPOINTS-01"}
    assert wanted | {f"SEED-0{number}" for number in range(1, 7)} <= set(OURS)


@pytest.mark.parametrize(("name", "tried"), [
    ("svc", ["svc.a.", "svc.b.", "svc."]), ("svc.ns", ["svc.ns.a.", "svc.ns.b.", "svc.ns."]),
    ("1.2.3.4.5.svc", ["1.2.3.4.5.svc.", "1.2.3.4.5.svc.a.", "1.2.3.4.5.svc.b."]),
    ("svc.full.", ["svc.full."]),
])
def test_the_search_list_is_applied_as_a_stub_resolver_does(name: Any, tried: Any) -> None:
    assert names.candidates(name, ("a", "b"), 5) == tried


def test_only_a_records_count_and_nonsense_is_no_address() -> None:
    query = dns.message.make_query("x.", "A")
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text("x.", 5, "IN", "A", "10.43.0.9", "10.43.0.10"))
    answer.answer.append(dns.rrset.from_text("x.", 5, "IN", "CNAME", "y."))
    outcome = (Outcome("answered"),)
    assert asking.addresses(Attempts(outcome, (answer.to_wire(),))) == ["10.43.0.10", "10.43.0.9"]
    assert asking.addresses(Attempts(outcome, (b"",))) == []
    assert asking.addresses(Attempts(outcome, (b"\0" * 11,))) == []


def test_chain_names_are_hashed_and_not_known_by_heart() -> None:
    """Golden vectors of other names: those of the post, of upstream's own tests, and of both styles."""
    assert nat_table.chain("SVC", "default", "nextcloud-dev-clusterip", "1.18") == nat_table.POSTED[0]
    endpoints = [nat_table.chain("SEP", "default", "nextcloud-dev-clusterip", "1.18", f"{ip}:80")
                 for ip in ("10.42.0.85", "10.42.1.170")]
    assert tuple(endpoints) == nat_table.POSTED[1:]
    assert nat_table.chain("SVC", "default", "foo", "1.18") == "KUBE-SVC-PUDHWSP3TSDG63YK"
    assert nat_table.chain("SVC", "default", "foo", "current") == "KUBE-SVC-2ET4SOZOXOH76MUL"


def test_the_nat_table_is_read_with_or_without_counters() -> None:
    text = (
        "*filter\n-A INPUT -j NOT-NAT\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n"
        '[5:300] -A KUBE-SVC-X -m comment --comment "a -j b" -m statistic --mode random '
        "--probability 0.50000000000 -j KUBE-SEP-Y\n"
        "-A KUBE-SEP-Y -p tcp -j DNAT --to-destination 10.42.0.85:80\nCOMMIT\n"
    )
    assert nat_table.nat(text) == [
        {"chain": "KUBE-SVC-X", "probability": "0.50000000000", "jump": "KUBE-SEP-Y"},
        {"chain": "KUBE-SEP-Y", "jump": "DNAT", "to": "10.42.0.85:80"},
    ]


def test_a_refusal_is_expected_in_kubernetes_words() -> None:
    assert allocation.refusal("s", 29999, "why")["message"] == (
        'Service "s" is invalid: spec.ports[0].nodePort: Invalid value: 29999: why')
    assert allocation.inside("10.43.1.1", ["10.43.0.0/16"])
    assert not allocation.inside("10.42.1.1", ["10.43.0.0/16"])
