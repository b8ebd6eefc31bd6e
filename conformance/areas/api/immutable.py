"""API-03: what of a Service stays, and what must be unique in it."""

from __future__ import annotations

from collections.abc import Callable

from conformance.kube import Answer
from conformance.lab import Lab, Served
from conformance.objects import Object, port, service
from conformance.ranges import free_address
from conformance.requirements import Level, requirement


async def change(lab: Lab, value: str, served: Served, edit: Callable[[Object], object]) -> Answer:
    """Try to change the Service's spec; a refusal is recorded as ``value``."""
    made = await lab.kube.get("Service", "v1", served.namespace, served.name)
    edit(made["spec"])
    answer = await lab.kube.attempt_replace(made)
    lab.value(value, {"code": answer.code} if answer.ok else answer.refusal())
    return answer


def refused(lab: Lab, value: str, words: str) -> None:
    """Expect ``value`` to be a refusal with these words."""
    expected = {"code": 422, "reason": "Invalid", "message": words}
    lab.expect_value("includes", value, {"expected": expected}, f"{value} is refused: {words}")


@requirement(
    "API-03", Level.CORE,
    source="kubernetes pkg/apis/core/validation, ValidateServiceUpdate and ValidateService; the words are "
    "those of the API server",
)
async def immutable(lab: Lab) -> None:
    """A clusterIP MUST NOT change but by way of ExternalName, nor may names or numbers of ports repeat."""
    served, other = await lab.service([port(80)], selector={"app": "nobody"}), await free_address(lab)
    moved = "another clusterIP"
    await change(lab, moved, served, lambda spec: spec.update(clusterIP=other, clusterIPs=[other]))
    refused(lab, moved, "may not change once set")
    wrong = {
        "two ports of one name": ([port(80, name="a"), port(81, name="a")], "spec.ports[1].name: Duplicate"),
        "two ports without names": ([port(80), port(81)], "spec.ports[0].name: Required value"),
        "one number twice": ([port(80, name="a"), port(80, name="b")], "spec.ports[1]: Duplicate value"),
    }
    for value, (ports, words) in wrong.items():
        await lab.attempt(value, service(value.replace(" ", "-"), lab.rig.run, ports))
        refused(lab, value, words)
    named = {"type": "ExternalName", "externalName": "example.com", "clusterIP": "", "clusterIPs": None}
    await change(lab, "to ExternalName", served, lambda spec: spec.update(named))
    lab.expect_value("equals", "to ExternalName", {"expected": {"code": 200}}, "that is a way to change it")
