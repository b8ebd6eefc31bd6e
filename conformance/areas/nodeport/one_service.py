"""NODEPORT-09: one Service for each port."""

from __future__ import annotations

from conformance.kube import Answer
from conformance.lab import Lab, Served
from conformance.ranges import asking, free_port
from conformance.requirements import Level, requirement


@requirement(
    "NODEPORT-09", Level.CORE,
    source="e2e service.go, 'should prevent NodePort collisions'",
)
async def one_service(lab: Lab) -> None:
    """A NodePort MUST be refused to a second Service, and be given to it once the first is deleted."""
    number = await free_port(lab)

    async def ask(value: str, name: str) -> Answer:
        return await lab.attempt(value, asking(lab, name, number))

    made = await ask("the first", "first")
    lab.expect_value("equals", "the first", {"expected": {"code": 201}}, f"free port {number} is given")
    if not made.ok:
        return
    await ask("the second", "second")
    said = f"spec.ports[0].nodePort: Invalid value: {number}: provided port is already allocated"
    refused = {"code": 422, "reason": "Invalid", "message": f'Service "second" is invalid: {said}'}
    lab.expect_value("equals", "the second", {"expected": refused}, "the port is refused to another Service")
    await lab.remove(Served.of(made.body))
    await ask("the second, afterwards", "second")
    says = "the port is given once its Service is deleted"
    lab.expect_value("equals", "the second, afterwards", {"expected": {"code": 201}}, says)
