"""LIFECYCLE-03: the proxy is restarted, and nobody notices."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.features import Feature
from conformance.lab import Lab
from conformance.measuring import around, record
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement
from conformance.restarting import proxy, restart
from conformance.timing import Aim

INTERVAL, COUNT = 0.003, 800  # seconds between new connections of a client, at least; how many
PATIENCE = 0.9  # seconds: a first packet that is lost is sent again after one second, and shall not hide
HELD = 20  # established connections a place, each with something to say ten times a second


@requirement(
    "LIFECYCLE-03", Level.CORE, needs={"two-nodes", "outside", "snapshot", "signal"}, disruptive=True,
    features={Feature.SEAMLESS_RESTART},
    source="kubernetes #75360, #76376, #73154, PR #75283; Cilium #29667, #27215, #26944: seconds of refused "
    "or dropped connections, and connections cut, on every restart of the proxy",
)
async def proxy_restart(lab: Lab) -> None:
    """No new connection of 3,000 or more MUST be lost, and no held one broken, while proxies restart."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], backends, type="NodePort")
    through = Probe("tcp", (lab.nodes[0].addresses[0], served.node_port()), interval=0.01, timeout=PATIENCE)
    after = lab.rig.cluster.restart_seconds * len(lab.nodes)
    inside = Probe("tcp", (served.ip, 80), interval=max(INTERVAL, after / COUNT), timeout=PATIENCE)
    held = Probe("held", (served.ip, 80), concurrency=HELD, interval=0.1, timeout=lab.timing.attempt.seconds)
    aims = {f"new connections, {one.name}": Aim(one, inside) for one in lab.clients}
    aims |= {"new connections, outside": Aim(lab.outside, through)}
    aims |= {f"held connections, {one.name}": Aim(one, held) for one in lab.clients}
    says, right = "every connection is served while the proxies restart", Answered(by=backends.nonces)
    fresh = [aim.sending(50) for name, aim in aims.items() if name.startswith("new")]
    if not await lab.serves("before", fresh, right, says):
        return
    command = await proxy(lab, lab.nodes[0].name)

    async def one_after_another() -> float:
        return [await restart(lab, node.name, command) for node in lab.nodes][-1]

    measured = await around(lab, aims, one_after_another, after=after)
    record(lab, measured, "the last proxy is ready again")
    if measured.acted > measured.last:
        lab.evidence.unknown(lab.id, f"the restarts took longer than {after:g} s")
    for name in measured.series:
        lab.expect("every", name, {"acceptable": right.to_json()}, says)
