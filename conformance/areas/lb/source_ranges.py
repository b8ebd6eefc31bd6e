"""LB-06: who may use a load balancer's address."""

from __future__ import annotations

from ipaddress import ip_network

from conformance.balanced import balanced
from conformance.expectations import Answered, Unanswered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

NOBODY = "192.0.2.0/24"  # RFC 5737: of documents only
SILENCE = 0.5  # seconds without any answer; one that comes takes milliseconds


@requirement(
    "LB-06", Level.EXT, needs={"outside"}, features={Feature.LOAD_BALANCER, Feature.SOURCE_RANGES},
    source="kubernetes.io/docs/concepts/services-networking/service, loadBalancerSourceRanges; e2e "
    "loadbalancer.go, 'only allow access from service loadbalancer source ranges'; kubernetes #88698, #62638",
)
async def source_ranges(lab: Lab) -> None:
    """Of outside clients only those in loadBalancerSourceRanges MUST be served, and all once it is empty."""
    backends = await lab.backends(len(lab.nodes))
    own = [str(ip_network(one)) for one in lab.outside.addresses]
    served, address = await balanced(lab, backends, loadBalancerSourceRanges=own)
    if not address:
        return
    answered = Answered(by=backends.nonces)
    for series, ranges, right, says in (
        ("its own", own, answered, "a client in the ranges is served"),
        ("another's", [NOBODY], Unanswered(), "a client that is in none of them is not"),
        ("empty", [], answered, "with no ranges every client is served"),
    ):
        if ranges != own:
            await lab.update(served, loadBalancerSourceRanges=ranges)
        timeout = lab.timing.attempt.seconds if right is answered else SILENCE
        probe = Probe("tcp", (address, served.port), count=50, concurrency=50, timeout=timeout)
        if not await lab.serves(series, [Aim(lab.outside, probe)], right, says):
            return
