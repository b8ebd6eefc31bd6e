"""DUALSTACK-03: both addresses of a Service, from everywhere."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.objects import port
from conformance.probes import Kind, Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim

PROTOCOLS: tuple[Kind, ...] = ("tcp", "udp")


@requirement(
    "DUALSTACK-03", Level.EXT, needs={"dual-stack", "outside"}, features={Feature.DUAL_STACK},
    source="e2e dual_stack.go, 'Granular Checks: Services Secondary IP Family'",
)
async def both_addresses(lab: Lab) -> None:
    """Pods, nodes and endpoints MUST reach a Service at both its addresses, and clients all its NodePorts."""
    backends = await lab.backends(2)
    ports = [port(80, protocol=word.upper(), name=word) for word in PROTOCOLS]
    served = await lab.service(ports, backends, type="NodePort", ipFamilyPolicy="RequireDualStack")
    inside = [*lab.clients, *(agent.vantage for agent in await lab.rig.node_agents())]
    if lab.declaration.supports(Feature.HAIRPIN_IPV6):  # an endpoint may be led to itself
        inside += [pod.vantage for pod in backends.pods]
    ways = [(one, word, (ip, 80)) for one in inside for ip in served.ips for word in PROTOCOLS]
    # A pod's datagrams to a node port of another node are lost whenever its own node's kube-proxy reconciles
    # conntrack (1.36: by the port alone); that is no matter of the family, so they are sent from outside.
    senders = {"tcp": [lab.outside, *lab.clients], "udp": [lab.outside]}
    addresses = [address for node in lab.nodes for address in node.addresses]
    ways += [(one, word, (address, served.node_port(word.upper())))
             for word in PROTOCOLS for one in senders[word] for address in addresses]
    seconds = lab.timing.attempt.seconds
    aims = [Aim(one, Probe(word, target, count=20, concurrency=4, timeout=seconds))
            for one, word, target in ways]
    says = "a selected pod answers at every address of both families"
    await lab.serves("both families", aims, Answered(by=backends.nonces), says)
