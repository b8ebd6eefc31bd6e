"""SEED-03: statistic mode random probability 0.50000000000, seen from outside the rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from conformance.areas.seed.page import SOURCE, cluster_ip, page
from conformance.evidence import Outcome
from conformance.expectations import Answered
from conformance.lab import Lab
from conformance.post import Post
from conformance.requirements import Level, requirement
from conformance.timing import Aim, settles

REQUESTS = 1640
ALPHA, TOLERANCE = 1e-6, 0.10


async def served_by(lab: Lab, post: Post, token: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Each outcome with the pod in whose access log its token stands; NextCloud itself names nobody."""
    logged = re.compile(re.escape(token) + r"-(\d+)\b")
    pods: dict[int, str] = {}
    since, answered = lab.now(), sum(outcome.kind == "answered" for outcome in outcomes)
    while len(pods) < answered and lab.now() - since < lab.timing.objects.seconds:
        for name in post.addresses():
            text = await lab.pod_log(post.namespace, name)
            pods.update({int(number): name for number in logged.findall(text)})
    return [replace(outcome, by=pods.get(number, "")) for number, outcome in enumerate(outcomes)]


@requirement("SEED-03", Level.CORE, needs={"seed"}, source=f"{SOURCE}, 'with 50% probability'")
async def half_each(lab: Lab) -> None:
    """Each of the two pods MUST take half of 1,620 or more requests, ± 10 points, as their logs count."""
    post, token = await lab.post(), f"conf-{lab.rig.run}"
    ip, client = cluster_ip(post), post.client.vantage
    aim = Aim(client, page(lab, ip, 8080, path=f"/login?token={token}-{{n}}", count=REQUESTS))
    says = "the page answers at the ClusterIP"
    warm = Aim(client, page(lab, ip, 8080))
    if not await settles(lab, "settling", [warm], Answered(), lab.timing.serves, says):
        return
    seen = await client.probe(aim.probe)
    lab.probed("requests", aim, await served_by(lab, post, token, seen.outcomes))
    pods = sorted(post.addresses())
    every = {"acceptable": Answered(by=frozenset(pods)).to_json()}
    lab.expect("every", "requests", every, "each request is answered and stands in a pod's log")
    shares = {"backends": pods, "alpha": ALPHA, "tolerance": TOLERANCE}
    lab.expect("shares", "requests", shares, "the two pods take equal shares")
