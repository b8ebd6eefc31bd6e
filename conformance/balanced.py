"""Services of type LoadBalancer: their address, their events, and the way to it through a chosen node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from clusters.base import CanSnapshot, ClusterError, Node
from conformance import pool
from conformance.kube import KubeError, Objects
from conformance.lab import Backends, Lab, Served
from conformance.objects import port
from conformance.pool import Pool, given_to
from conformance.timing import Duration

ECHO_PORT = 80  # of the backends
FIRST_PORT = 8000
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


async def pool_of(lab: Lab) -> Pool:
    """The load balancer's pool, given to it once a run."""
    return await lab.rig.once("pool", lambda: pool.stand(lab.rig))


async def address_of(lab: Lab, served: Served, within: Duration) -> str:
    """The first address in the Service's status; empty when there is none ``within`` the bound."""

    def found(known: Objects) -> str | None:
        listed = given_to(known.get((served.namespace, served.name)))
        return listed[0] if listed else None

    what = f"an address for Service {served.namespace}/{served.name}"
    try:
        return await lab.rig.services().until(found, within.seconds, what)
    except KubeError as problem:
        lab.step(str(problem))
        return ""


async def balanced(
    lab: Lab, backends: Backends | None, *, name: str = "served", protocol: str = "TCP",
    any_pool: bool = True, **spec: Any,
) -> tuple[Served, str]:
    """A Service of type LoadBalancer and its address; that it gets one is expected already.

    Without ``any_pool`` it must be one of the pool. Its port is its own in this run, as a load balancer may
    have one Service a port (k3s's ServiceLB). The address is empty when it gets none, which is a failure
    already recorded.
    """
    known = await pool_of(lab)
    lab.rig.services()  # follow them from before the Service is there
    since = lab.now()
    wanted = [port(own_port(lab, name), ECHO_PORT, protocol=protocol)]
    served = await lab.service(wanted, backends, name=name, type="LoadBalancer", **spec)
    address = await address_of(lab, served, lab.timing.balanced)
    if address:
        lab.value("address_after_s", round(lab.now() - since, 3))
    value = f"address of {served.name}"
    lab.value(value, {"address": address, "right": bool(address) and (any_pool or known.holds(address))})
    says = f"the Service gets an address{'' if any_pool else ' of the pool'} within "
    says += f"{lab.timing.balanced.seconds:g} s"
    lab.expect_value("includes", value, {"expected": {"right": True}}, says)
    return served, address


def own_port(lab: Lab, name: str) -> int:
    """The port of the Service ``name`` of this requirement, which no other one has."""
    return FIRST_PORT + lab.rig.number(f"balanced: {lab.id} {name}")


async def events(lab: Lab, served: Served) -> list[str]:
    """The reasons of the events about a Service, in no order."""
    answer = await lab.kube.request("GET", f"/api/v1/namespaces/{served.namespace}/events")
    if not answer.ok:
        raise KubeError(f"list events of {served.namespace}: {answer.said()}")
    return [
        str(one.get("reason", "")) for one in answer.body.get("items") or ()
        if (one.get("involvedObject") or {}).get("name") == served.name
    ]


async def exclude(lab: Lab, node: str, excluded: bool) -> float:
    """Set or remove the label by which Kubernetes keeps load balancers away from a node.

    Gives when the API server had it, on CLOCK_MONOTONIC.
    """
    made = await lab.kube.get("Node", "v1", "", node)
    labels = made["metadata"].setdefault("labels", {})
    if excluded:
        labels[EXCLUDED] = "true"
    else:
        labels.pop(EXCLUDED, None)
    await lab.kube.replace(made)
    lab.step(f"{node}: label {EXCLUDED} {'set' if excluded else 'removed'}")
    return lab.now() + lab.evidence.began


@asynccontextmanager
async def route_through(lab: Lab, address: str, node: Node) -> AsyncIterator[None]:
    """Have the place outside send what goes to ``address`` to ``node``, whoever announces it."""
    way = ["ip", "route", "replace", f"{address}/32", "via", node.addresses[0]]
    await _outside(lab, way)
    lab.step(f"outside: {' '.join(way)}")
    try:
        yield
    finally:
        await _outside(lab, ["ip", "route", "del", f"{address}/32"])


async def _outside(lab: Lab, argv: Sequence[str]) -> None:
    status, _, said = await cast(CanSnapshot, lab.rig.cluster).run_on("outside", argv, timeout=10)
    if status != 0:
        raise ClusterError(f"outside: {' '.join(argv)}: exit status {status}: {said.strip()}")
