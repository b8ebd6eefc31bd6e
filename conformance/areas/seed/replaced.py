"""SEED-13: a back-end pod dies, and a new replica with another address takes its place."""

from __future__ import annotations

from conformance import objects
from conformance.areas.seed.half_each import served_by
from conformance.areas.seed.page import PAGES, SOURCE, page
from conformance.evidence import Outcome
from conformance.expectations import Answered
from conformance.lab import Lab, Served
from conformance.post import CLUSTER_IP, REPLICAS, Post, container, ready_pods
from conformance.requirements import Level, requirement
from conformance.timing import Aim

LABELS = {"app": "nextcloud-replaced"}


async def stand(lab: Lab) -> tuple[Post, Served]:
    """A Deployment as the post's and a Service before it, with labels of their own."""
    made = objects.deployment("nextcloud", lab.rig.run, REPLICAS, LABELS, container(lab.rig))
    await lab.kube.create(made, await lab.namespace())
    served = await lab.service([objects.port(8080, 80)], name=CLUSTER_IP, selector=LABELS)
    return await look(lab, served), served


async def look(lab: Lab, served: Served, without: str = "") -> Post:
    """The pods that are ready now, once there are two, and ``without`` is none of them."""
    pods = await ready_pods(lab.rig, served.namespace, LABELS, without)
    made = Post(served.namespace, tuple(pods), {}, (await lab.post()).client)
    await lab.endpoints(served, made.addresses().values())
    return made


async def batch(lab: Lab, post: Post, aim: Aim, number: int) -> tuple[Aim, list[Outcome]]:
    """One batch of requests, each with the pod in whose log it stands."""
    token = f"conf-{lab.rig.run}-{lab.id.lower()}-{number}"
    ip, to = aim.probe.target
    counted = Aim(aim.vantage, page(lab, ip, to, path=f"/login?token={token}-{{n}}", count=PAGES))
    seen = await counted.vantage.probe(counted.probe)
    return counted, await served_by(lab, post, token, seen.outcomes)


async def joined(lab: Lab, post: Post, aim: Aim, new: set[str]) -> None:
    """Ask until a pod of ``new`` answers or the bound is over; seconds since it was ready are a value."""
    since, number = lab.now(), 1
    while lab.now() - since <= lab.timing.joins.seconds:
        counted, outcomes = await batch(lab, post, aim, number)
        lab.probed("until the replica answers", counted, outcomes)
        if found := [outcome.at for outcome in outcomes if outcome.by in new]:
            lab.value("first_answer_s", round(max(0.0, min(found) - since), 3))
            return
        number += 1


@requirement("SEED-13", Level.CORE, needs={"seed"}, source=f"{SOURCE}, 'If our back-end pod dies'")
async def replaced(lab: Lab) -> None:
    """The page MUST go on coming when a pod dies: by the one that stays, and within 30 s by its replica."""
    post, served = await stand(lab)
    aim = Aim(post.client.vantage, page(lab, served.ip, 8080))
    if not await lab.serves("both pods", [aim], Answered(), "the page answers at the ClusterIP"):
        return
    dead = post.pods[0]["metadata"]["name"]
    await lab.kube.delete("Pod", "v1", post.namespace, dead)
    lab.step(f"pod {dead} deleted")
    after = await look(lab, served, without=dead)
    if not await lab.serves("the replica, too", [aim], Answered(), "the page answers without the dead pod"):
        return
    await joined(lab, after, aim, set(after.addresses()) - set(post.addresses()))
    lab.probed("by whom", *await batch(lab, after, aim, 0))
    says = "both pods that are there now answer, as their logs say, and nobody else"
    lab.expect("covers", "by whom", {"backends": sorted(after.addresses())}, says)
