"""API-02: a NodePort is one Service's, for TCP and for UDP."""

from __future__ import annotations

from conformance.lab import Lab
from conformance.objects import Object, port, service
from conformance.ranges import asking, free_port
from conformance.requirements import Level, requirement


def both(lab: Lab, number: int) -> Object:
    """A Service with one port number over TCP and UDP, and one NodePort for both."""
    ports = [port(53, protocol=word, name=word.lower(), node_port=number) for word in ("TCP", "UDP")]
    return service("both", lab.rig.run, ports, {"app": "nobody"}, type="NodePort")


@requirement(
    "API-02", Level.CORE,
    source="e2e service.go, 'should prevent NodePort collisions'; kubernetes PR #108888: one number for TCP "
    "and UDP of the same port",
)
async def shared_port(lab: Lab) -> None:
    """A NodePort MUST be given to TCP and UDP of one Service, and refused to any second Service."""
    number = await free_port(lab)
    await lab.attempt("TCP and UDP of one Service", both(lab, number))
    says = "one Service has the same NodePort for TCP and UDP of the same port"
    lab.expect_value("equals", "TCP and UDP of one Service", {"expected": {"code": 201}}, says)
    await lab.attempt("a second Service", asking(lab, "second", number))
    said = f"spec.ports[0].nodePort: Invalid value: {number}: provided port is already allocated"
    refused = {"code": 422, "reason": "Invalid", "message": f'Service "second" is invalid: {said}'}
    lab.expect_value("equals", "a second Service", {"expected": refused}, "no other Service gets the port")
