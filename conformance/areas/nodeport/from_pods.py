"""NODEPORT-01: a Service of type NodePort has three ways in."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab, Served
from conformance.objects import family_of, port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.timing import Aim
from conformance.vantage import Vantage


async def named(lab: Lab, client: Vantage, served: Served) -> None:
    """Its name gives the clusterIP to ``client``, once the cluster's DNS knows it."""
    name, found, since = f"{served.name}.{served.namespace}", [""], lab.now()
    while found != [served.ip] and lab.now() - since < lab.timing.serves.seconds:
        found = list((await client.resolve(name)).addresses)
    lab.value(f"{name} from {client.name}", found)
    lab.expect_value("equals", f"{name} from {client.name}", {"expected": [served.ip]},
                     "the name gives the clusterIP")


@requirement(
    "NODEPORT-01", Level.CORE, needs={"two-nodes"},
    source="e2e service.go, 'should be able to create a functioning NodePort service'",
)
async def from_pods(lab: Lab) -> None:
    """A pod MUST reach a NodePort Service by name, by clusterIP, and at every address of every node."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], backends, type="NodePort")
    targets = [(served.ip, 80)]
    targets += [(address, served.node_port()) for node in lab.nodes for address in node.addresses
                if family_of(address) in served.families]
    attempt = lab.timing.attempt.seconds
    aims = [Aim(client, Probe("tcp", target, count=50, timeout=attempt))
            for client in lab.clients for target in targets]
    says = "a pod is answered at the clusterIP and at the NodePort of every node"
    await lab.serves("from pods", aims, Answered(by=backends.nonces), says)
    for client in lab.clients:
        await named(lab, client, served)
