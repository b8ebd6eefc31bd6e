"""BALANCE-02: equal backends get equal shares."""

from __future__ import annotations

from conformance.expectations import Answered
from conformance.lab import Lab, each
from conformance.objects import port
from conformance.probes import Probe
from conformance.requirements import Level, requirement

CONNECTIONS = 1640  # 10 points of two backends are seen with 99.9 % at alpha 1e-6 from 1,620 on
ALPHA, TOLERANCE = 1e-6, 0.10


@requirement(
    "BALANCE-02", Level.CORE, needs={"two-nodes"},
    source="kubernetes.io/docs/reference/networking/virtual-ips: a backend is chosen at random or in turn; "
    "no authority names another share than equal for equal backends",
)
async def equal_shares(lab: Lab) -> None:
    """Each of two equal backends MUST take half of 1,620 or more fresh TCP connections, ± 10 points."""
    backends = await lab.backends(2)
    served = await lab.service([port(80)], backends)
    probe = Probe("tcp", (served.ip, 80), count=CONNECTIONS, timeout=lab.timing.attempt.seconds)
    says = "a selected pod answers at the clusterIP"
    aims = each(lab.clients[:1], probe)
    if await lab.serves("connections", aims, Answered(by=backends.nonces), says):
        params = {"backends": sorted(backends.nonces), "alpha": ALPHA, "tolerance": TOLERANCE}
        lab.expect("shares", "connections", params, "equal backends take equal shares")
