"""Named sets of requirements. A profile is a selection, never a list kept by hand beside the requirements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from conformance.features import Feature
from conformance.requirements import Level, Requirement


class ProfileError(Exception):
    """There is no such profile; names those there are."""


@dataclass(frozen=True)
class Profile:
    """A named selection."""

    name: str
    sentence: str
    holds: Callable[[Requirement], bool]


SMOKE = ("CLUSTERIP-01", "DNS-01", "BALANCE-02", "NODEPORT-02", "ENDPOINTS-01", "API-01")
_LOAD_BALANCER = {Feature.LOAD_BALANCER, Feature.LOAD_BALANCER_L2, Feature.LOAD_BALANCER_BGP}
_SEED = "SEED"


def _announces(requirement: Requirement, how: Feature, area: str, other: Feature) -> bool:
    """Core rows, and those of any load balancer, and those of the one way of announcing."""
    if requirement.area == area or how in requirement.features:
        return True
    if requirement.area in {"LB-L2", "LB-BGP", _SEED} or other in requirement.features:
        return False
    return requirement.level is Level.CORE or requirement.area == "LB" or bool(
        _LOAD_BALANCER & requirement.features)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("smoke", "One requirement of each sort, in seconds: is anything served at all?",
                lambda one: one.id in SMOKE),
        Profile("core", "What every Service implementation must show.",
                lambda one: one.level is Level.CORE and one.area != _SEED),
        Profile("extended", "Core, and whatever is declared; what is not declared is unsupported.",
                lambda one: one.area != _SEED),
        Profile("loadbalancer-l2", "Core, and a load balancer that announces by ARP and NDP.",
                lambda one: _announces(one, Feature.LOAD_BALANCER_L2, "LB-L2", Feature.LOAD_BALANCER_BGP)),
        Profile("loadbalancer-bgp", "Core, and a load balancer that announces by BGP.",
                lambda one: _announces(one, Feature.LOAD_BALANCER_BGP, "LB-BGP", Feature.LOAD_BALANCER_L2)),
        Profile("seed", "The blog post the project started from, with its own numbers.",
                lambda one: one.area == _SEED),
    )
}


def profile(name: str) -> Profile:
    """The profile called ``name``; raises ProfileError naming those there are."""
    found = PROFILES.get(name)
    if found is None:
        raise ProfileError(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    return found


def chosen(name: str, known: Mapping[str, Requirement]) -> list[Requirement]:
    """The requirements of ``known`` that profile ``name`` holds, in ID order. Raises ProfileError."""
    holds = profile(name).holds
    return [one for _, one in sorted(known.items()) if holds(one)]


def profiles_of(one: Requirement) -> list[str]:
    """The names of the profiles that hold ``one``, as the plugin's marks."""
    return [found.name for found in PROFILES.values() if found.holds(one)]
