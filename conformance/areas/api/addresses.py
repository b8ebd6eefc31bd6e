"""API-04: a clusterIP that is asked for."""

from __future__ import annotations

from conformance.kube import Answer
from conformance.lab import Lab, Served
from conformance.objects import port, service
from conformance.ranges import FOREIGN, free_address
from conformance.requirements import Level, requirement


@requirement(
    "API-04", Level.CORE,
    source="kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation; kubernetes #92285 and "
    "#104769: a released address was kept for up to nine minutes",
)
async def addresses(lab: Lab) -> None:
    """A clusterIP out of range or taken MUST be refused, a free one given, a released one given again."""
    address = await free_address(lab)

    async def ask(value: str, name: str, wanted: str) -> Answer:
        made = service(name, lab.rig.run, [port(80)], {"app": "nobody"}, clusterIP=wanted)
        return await lab.attempt(value, made)

    await ask("out of range", "foreign", FOREIGN)
    invalid = {"code": 422, "reason": "Invalid"}
    lab.expect_value("includes", "out of range", {"expected": invalid}, f"{FOREIGN} is refused")
    made = await ask("free", "first", address)
    lab.expect_value("equals", "free", {"expected": {"code": 201}}, f"free {address} is given")
    await ask("taken", "second", address)
    said = f"failed to allocate IP {address}: provided IP is already allocated"
    refused = {**invalid, "message": said}
    lab.expect_value("includes", "taken", {"expected": refused}, f"{address} is refused to another Service")
    if made.ok:
        await lab.remove(Served.of(made.body))
        await ask("released", "second", address)
        says = f"{address} is given at once when its Service is deleted"
        lab.expect_value("equals", "released", {"expected": {"code": 201}}, says)
