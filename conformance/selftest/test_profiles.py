"""Profiles select by ID, level and feature."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.features import Feature
from conformance.profiles import PROFILES, SMOKE, ProfileError, chosen, profile, profiles_of
from conformance.requirements import Level, Requirement, locked_ids


async def body(lab: Any) -> None:
    """Nothing."""


def one(id: str, level: Level = Level.CORE, *features: Feature) -> Requirement:
    return Requirement(
        id, level, "s", "x", id.rpartition("-")[0], frozenset(), frozenset(features), False, body
    )


KNOWN = {
    made.id: made
    for made in (
        one("CLUSTERIP-01"),
        one("CLUSTERIP-17", Level.EXT, Feature.FRAGMENTED_UDP),
        one("DNS-01"),
        one("LB-01", Level.EXT, Feature.LOAD_BALANCER),
        one("LB-L2-01"),
        one("LB-BGP-01"),
        one("SEED-01"),
        one("LIFECYCLE-08", Level.EXT, Feature.LOAD_BALANCER_BGP),
        one("BALANCE-10", Level.IMPL, Feature.MAGLEV),
    )
}


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("smoke", "CLUSTERIP-01 DNS-01"),
        ("core", "CLUSTERIP-01 DNS-01 LB-BGP-01 LB-L2-01"),
        ("extended", "BALANCE-10 CLUSTERIP-01 CLUSTERIP-17 DNS-01 LB-01 LB-BGP-01 LB-L2-01 LIFECYCLE-08"),
        ("loadbalancer-l2", "CLUSTERIP-01 DNS-01 LB-01 LB-L2-01"),
        ("loadbalancer-bgp", "CLUSTERIP-01 DNS-01 LB-01 LB-BGP-01 LIFECYCLE-08"),
        ("seed", "SEED-01"),
    ],
)
def test_what_a_profile_selects(name: str, ids: str) -> None:
    assert [made.id for made in chosen(name, KNOWN)] == ids.split()


def test_every_profile_is_tested_and_has_a_sentence() -> None:
    assert set(PROFILES) == {"smoke", "core", "extended", "loadbalancer-l2", "loadbalancer-bgp", "seed"}
    assert all(found.sentence and found.name == name for name, found in PROFILES.items())


def test_smoke_names_published_ids_only() -> None:
    assert set(SMOKE) <= set(locked_ids())


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(ProfileError, match="there are smoke, core"):
        profile("smoek")


def test_the_profiles_of_a_requirement() -> None:
    assert profiles_of(KNOWN["SEED-01"]) == ["seed"]
    assert "smoke" in profiles_of(KNOWN["DNS-01"])
