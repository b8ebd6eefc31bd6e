"""CLUSTERIP-01: a Service answers at its address."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement


@requirement(
    "CLUSTERIP-01", Level.CORE,
    source="kubernetes.io/docs/concepts/services-networking/service, type ClusterIP; e2e service.go, "
    "'serve a basic endpoint from pods'",
)
async def answers_pods(lab: Lab) -> None:
    """An answer of a selected ready pod MUST come at clusterIP:port over TCP, on every try, on any node."""
    backends = await lab.backends(2)
    served = await lab.service([port(8080, 80)], backends)
    aims = each(lab.clients, Probe("tcp", (served.ip, 8080), count=300, timeout=lab.timing.attempt.seconds))
    says = "a selected pod answers at the clusterIP, from a pod on every node"
    await lab.serves("clusterIP", aims, Answered(by=backends.nonces), says)
