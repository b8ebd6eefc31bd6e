"""API-11: what a Service is when nothing is said."""

from __future__ import annotations

from conformance.kube import path_of
from conformance.lab import Lab
from conformance.objects import Object, service
from conformance.requirements import Level, requirement

PORT = {"port": 80, "protocol": "TCP", "targetPort": 80}
ALL: Object = {"sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "ports": [PORT]}
OUTSIDE: Object = {**ALL, "externalTrafficPolicy": "Cluster"}
EXPECTED: dict[str, Object] = {
    "ClusterIP": {**ALL, "type": "ClusterIP", "ipFamilyPolicy": "SingleStack"},
    "NodePort": {**OUTSIDE, "type": "NodePort"},
    "LoadBalancer": {**OUTSIDE, "type": "LoadBalancer", "allocateLoadBalancerNodePorts": True},
}


@requirement(
    "API-11", Level.CORE,
    source="kubernetes pkg/apis/core/v1/defaults.go, SetDefaults_Service; kubernetes.io/docs/reference/"
    "kubernetes-api/service-resources/service-v1",
)
async def defaults(lab: Lab) -> None:
    """Fields that are not given MUST have Kubernetes' defaults, in each of the three types of Service."""
    path = path_of("Service", "v1", await lab.namespace()) + "?dryRun=All"  # nobody gets an address for it
    for kind, right in EXPECTED.items():
        spec = {} if kind == "ClusterIP" else {"type": kind}
        made = service(f"plain-{kind.lower()}", lab.rig.run, [{"port": 80}], {"app": "nobody"}, **spec)
        answer = await lab.kube.request("POST", path, made)
        lab.value(kind, answer.body.get("spec", {}) if answer.ok else answer.refusal())
        lab.expect_value("includes", kind, {"expected": right}, f"type {kind} has its defaults")
        families = (answer.body.get("spec") or {}).get("ipFamilies") or ()
        lab.value(f"families of {kind}", len(families))
        lab.expect_value("equals", f"families of {kind}", {"expected": 1}, "it has one address family")
