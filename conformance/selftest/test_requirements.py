"""Requirements register themselves, are refused when written wrongly, and are selected purely."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conformance import requirements
from conformance.features import Feature
from conformance.requirements import Level, Requirement, RequirementError, locked_ids, registry, select


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_registered", {})


def written(id: str, level: Level = Level.CORE, **more: Any) -> Requirement:
    async def body(lab: Any) -> None:
        """It MUST be seen,
        on every node."""

    requirements.requirement(id, level, source="observed", **more)(body)
    return registry()[id]


def test_a_registered_requirement_carries_all_that_was_written() -> None:
    one = written(
        "LB-L2-01", Level.EXT, needs={"outside"}, features={Feature.LOAD_BALANCER_L2}, disruptive=True
    )
    assert (one.id, one.area, one.level) == ("LB-L2-01", "LB-L2", Level.EXT)
    assert one.sentence == "It MUST be seen, on every node."
    assert one.disruptive
    assert one.as_record() == {
        "id": "LB-L2-01",
        "level": "ext",
        "sentence": "It MUST be seen, on every node.",
        "source": "observed",
        "area": "LB-L2",
        "needs": ["outside"],
        "features": ["load-balancer-l2"],
    }


@pytest.mark.parametrize(
    "id", ["clusterip-01", "CLUSTERIP-1", "CLUSTERIP", "CLUSTERIP_01", "-01", "CLUSTERIP-0001"]
)
def test_an_ill_formed_id_is_refused(id: str) -> None:
    with pytest.raises(RequirementError, match="AREA-NN"):
        written(id)


def test_the_same_id_twice_is_refused_and_both_places_are_named() -> None:
    written("DNS-01")
    with pytest.raises(RequirementError, match=r"registered twice.*test_requirements"):
        written("DNS-01")


def test_a_body_without_a_sentence_is_refused() -> None:
    async def body(lab: Any) -> None:
        pass

    with pytest.raises(RequirementError, match="no docstring"):
        requirements.requirement("DNS-01", Level.CORE, source="x")(body)


def test_a_body_that_is_no_coroutine_is_refused() -> None:
    def body(lab: Any) -> Any:
        """Seen."""

    with pytest.raises(RequirementError, match="no async function"):
        requirements.requirement("DNS-01", Level.CORE, source="x")(body)


def test_a_requirement_without_a_source_is_refused() -> None:
    with pytest.raises(RequirementError, match="no source"):
        requirements.requirement("DNS-01", Level.CORE, source=" ")


def test_the_registry_is_in_id_order_and_a_copy() -> None:
    written("DNS-02")
    written("DNS-01")
    assert list(registry()) == ["DNS-01", "DNS-02"]
    registry().clear()
    assert list(registry()) == ["DNS-01", "DNS-02"]


def test_selection_by_id_star_area_and_level() -> None:
    known = {
        id: written(id, level)
        for id, level in (
            ("API-01", Level.CORE),
            ("DNS-01", Level.CORE),
            ("DNS-09", Level.EXT),
            ("LB-01", Level.EXT),
        )
    }
    assert [one.id for one in select(known)] == ["API-01", "DNS-01", "DNS-09", "LB-01"]
    assert [one.id for one in select(known, ids=["dns-01"])] == ["DNS-01"]
    assert [one.id for one in select(known, ids=["DNS-*", "LB-01"])] == ["DNS-01", "DNS-09", "LB-01"]
    assert [one.id for one in select(known, areas=["dns"], ids=["API-01"])] == ["API-01", "DNS-01", "DNS-09"]
    assert [one.id for one in select(known, areas=["DNS"], levels=[Level.EXT])] == ["DNS-09"]
    assert [one.id for one in select(known, levels=[Level.IMPL])] == []


def test_what_nothing_has_is_refused_with_the_nearest() -> None:
    known = {"DNS-01": written("DNS-01")}
    with pytest.raises(RequirementError, match="did you mean DNS-01"):
        select(known, ids=["DNS-O1"])
    with pytest.raises(RequirementError, match="areas are DNS"):
        select(known, areas=["DMS"])
    with pytest.raises(RequirementError, match="no requirement 'LB-\\*'"):
        select(known, ids=["LB-*"])


def test_the_lock_holds_every_row_of_the_catalogue() -> None:
    locked = locked_ids()
    areas = [area for area in locked.values() if area != "SEED"]
    assert len(areas) == 314
    assert {id: area for id, area in locked.items() if id in {"CLUSTERIP-35", "LB-BGP-16", "SCALE-07"}} == {
        "CLUSTERIP-35": "CLUSTERIP",
        "LB-BGP-16": "LB-BGP",
        "SCALE-07": "SCALE",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DNS-01 DNS\nDNS-01 DNS\n", "line 2: DNS-01 stands twice"),
        ("# all\nDNS-01 API\n", "line 2"),
        ("DNS-01\n", "line 1"),
        ("dns-01 dns\n", "line 1"),
        ("DNS-01 DNS gone\n", "line 1"),
    ],
)
def test_a_wrong_line_of_the_lock_is_named(text: str, said: str) -> None:
    with pytest.raises(RequirementError, match=said):
        locked_ids(text)


def test_a_hole_is_kept_as_dropped() -> None:
    assert locked_ids("DNS-01 DNS # all\n\nDNS-02 DNS dropped\n") == {"DNS-01": "DNS", "DNS-02": "dropped"}


def ids_script() -> ModuleType:
    path = Path(__file__).parents[2] / "ci/ids.py"
    spec = importlib.util.spec_from_file_location("ci_ids", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ids_py_finds_what_vanished_what_is_new_what_is_reused_and_what_moved() -> None:
    faults = ids_script().faults
    locked = {"DNS-01": "DNS", "DNS-02": "dropped", "LB-01": "LB"}
    assert faults(locked, ["DNS-01", "DNS-02"], {"DNS-01": "DNS"}) == []
    assert "DNS-03 was published and has vanished" in faults(locked, ["DNS-03"], {})[0]
    assert "add the line 'API-01 API'" in faults(locked, [], {"API-01": "API"})[0]
    assert "was dropped and is never reused" in faults(locked, [], {"DNS-02": "DNS"})[0]
    assert "locked to area LB" in faults(locked, [], {"LB-01": "DNS"})[0]


def test_ids_py_reads_what_was_published_from_git() -> None:
    assert "CLUSTERIP-01" in ids_script().published()
