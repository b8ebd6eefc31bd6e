"""DUALSTACK-01: which families a Service gets, and in which order."""

from __future__ import annotations

from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import Object, family_of, port, service
from conformance.requirements import Level, requirement

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"


def cases(first: str, second: str) -> dict[str, tuple[Object, str, list[str]]]:
    """By its words: what is asked, the policy and the families that must come of it."""
    return {
        "nothing": ({}, SINGLE, [first]),
        f"{first}": ({"ipFamilies": [first]}, SINGLE, [first]),
        f"{second}": ({"ipFamilies": [second]}, SINGLE, [second]),
        PREFER: ({"ipFamilyPolicy": PREFER}, PREFER, [first, second]),
        f"{PREFER}, {second} first":
            ({"ipFamilyPolicy": PREFER, "ipFamilies": [second]}, PREFER, [second, first]),
        REQUIRE: ({"ipFamilyPolicy": REQUIRE}, REQUIRE, [first, second]),
        f"{REQUIRE}, {second} and {first}":
            ({"ipFamilyPolicy": REQUIRE, "ipFamilies": [second, first]}, REQUIRE, [second, first]),
    }


@requirement(
    "DUALSTACK-01", Level.EXT, needs={"dual-stack"}, features={Feature.DUAL_STACK},
    source="kubernetes.io/docs/concepts/services-networking/dual-stack#services; e2e dual_stack.go, 'should "
    "create service with ipv4,v6 cluster ip' and its four sisters",
)
async def families(lab: Lab) -> None:
    """A Service MUST have addresses of the families it asked for, in its order, else of the cluster's own."""
    own = await lab.kube.get("Service", "v1", "default", "kubernetes")
    first = family_of(own["spec"]["clusterIP"])
    asked = cases(first, "IPv6" if first == "IPv4" else "IPv4")
    for number, (words, (spec, policy, right)) in enumerate(asked.items()):
        wanted = service(f"asks-{number}", lab.rig.run, [port(80)], {"app": "nobody"}, **spec)
        answer = await lab.kube.attempt(wanted, await lab.namespace())
        made = answer.body["spec"] if answer.ok else answer.refusal()
        lab.value(words, {
            "policy": made.get("ipFamilyPolicy"), "families": made.get("ipFamilies"),
            "addresses": [family_of(one) for one in made.get("clusterIPs") or ()],
            "first": [made.get("clusterIP")] == (made.get("clusterIPs") or [])[:1],
            **({} if answer.ok else made),
        })
        expected = {"policy": policy, "families": right, "addresses": right, "first": True}
        says = f"asked for {words}, it has {' and '.join(right)} by policy {policy}"
        lab.expect_value("equals", words, {"expected": expected}, says)
