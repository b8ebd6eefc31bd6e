"""DUALSTACK-02: slices of both families."""

from __future__ import annotations

from conformance.features import Feature
from conformance.kube import KubeError, Objects
from conformance.lab import Lab, Served, ready_addresses
from conformance.objects import port
from conformance.requirements import Level, requirement


def of_family(known: Objects, served: Served, family: str) -> list[str]:
    """The ready addresses in the Service's slices of one family, sorted."""
    slices = {key: made for key, made in known.items() if made["addressType"] == family}
    return sorted(ready_addresses(slices, served))


async def listed(lab: Lab, served: Served, family: str, wanted: list[str]) -> list[str]:
    """What the slices of a family list: ``wanted`` as soon as they do, else what they do at the end."""
    bound, what = lab.timing.listed.seconds, f"{family} slices of {served.name} list {', '.join(wanted)}"
    try:
        await lab.rig.slices.until(
            lambda known: of_family(known, served, family) == wanted or None, bound, what)
    except KubeError as problem:
        lab.step(str(problem))
    return of_family(lab.rig.slices.objects, served, family)


@requirement(
    "DUALSTACK-02", Level.EXT, needs={"dual-stack"}, features={Feature.DUAL_STACK},
    source="kubernetes.io/docs/concepts/services-networking/endpoint-slices#address-types; e2e "
    "dual_stack.go, validateEndpointsBelongToPods",
)
async def slices(lab: Lab) -> None:
    """Each pod's addresses MUST stand in slices of their own family within 10 s, and no others there."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], selector=backends.selector, ipFamilyPolicy="RequireDualStack")
    for family in ("IPv4", "IPv6"):
        wanted = sorted(backends.addresses({family}))
        lab.value(f"{family} slices", await listed(lab, served, family, wanted))
        says = f"the {family} slices list the pods' {family} addresses"
        lab.expect_value("equals", f"{family} slices", {"expected": wanted}, says)
