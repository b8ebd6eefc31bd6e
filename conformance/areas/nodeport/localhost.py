"""NODEPORT-10: the NodePort at a node's own loopback address."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement


@requirement(
    "NODEPORT-10", Level.IMPL, features={Feature.LOCALHOST_NODE_PORT},
    source="kube-proxy, --iptables-localhost-nodeports; kubernetes.io/docs/reference/networking/virtual-ips: "
    "mode nftables does not serve them",
)
async def localhost(lab: Lab) -> None:
    """A process on a node MUST reach a NodePort at 127.0.0.1, on every node, where that is declared."""
    backends = await lab.backends(1, nodes=lab.nodes[:1])
    served = await lab.service([port(80)], backends, type="NodePort")
    on_nodes = [agent.vantage for agent in await lab.rig.node_agents()]
    target = ("127.0.0.1", served.node_port())
    aims = each(on_nodes, Probe("tcp", target, count=50, timeout=lab.timing.attempt.seconds))
    says = "the pod answers at the loopback address of every node"
    await lab.serves("loopback", aims, Answered(by=backends.nonces), says)
