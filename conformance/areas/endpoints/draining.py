"""ENDPOINTS-08: endpoints about to end, the last resort."""

from __future__ import annotations

from conformance import objects
from conformance.expectations import Answered
from conformance.lab import Lab, Served, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement

READY = {"ready": True, "serving": True, "terminating": False}
DRAINING = {"ready": False, "serving": True, "terminating": True}
ENDED = {"ready": False, "serving": False, "terminating": True}


async def say(lab: Lab, served: Served, conditions: list[dict[str, bool]]) -> None:
    """Have the slice say these conditions of its endpoints, in their order. Raises KubeError."""
    made = await lab.kube.get("EndpointSlice", "discovery.k8s.io/v1", served.namespace, served.name)
    for endpoint, one in zip(made["endpoints"], conditions, strict=True):
        endpoint["conditions"] = one
    await lab.kube.replace(made)
    lab.step(f"conditions of the endpoints: {conditions}")


@requirement(
    "ENDPOINTS-08", Level.CORE,
    source="KEP-1669; e2e service.go, 'should fallback to terminating endpoints when there are no ready "
    "endpoints', which never looks whether they are left once one is ready",
)
async def draining(lab: Lab) -> None:
    """With no ready endpoint those that end but serve MUST be used, and left once one is ready again."""
    backends = await lab.backends(3)
    ending, _, other = backends.pods
    served = await lab.service([port(80)])
    addresses = [pod.ip for pod in backends.pods]
    made = objects.endpoint_slice(served.name, lab.rig.run, served.name, addresses)
    await lab.kube.create(made, served.namespace)
    aims = each(lab.clients, Probe("tcp", (served.ip, 80), count=50, timeout=lab.timing.attempt.seconds))
    for series, states, right, says in (
        ("none is ready", [DRAINING, ENDED, ENDED], ending, "the pod that ends but serves answers"),
        ("one is ready", [DRAINING, ENDED, READY], other, "the ready pod alone answers"),
    ):
        await say(lab, served, states)
        if not await lab.serves(series, aims, Answered(by=frozenset({right.nonce})), says):
            return
