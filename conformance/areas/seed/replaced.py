"""SEED-13: a back-end pod dies, and a new replica with another address takes its place."""

from __future__ import annotations

from conformance import objects
from conformance.areas.seed.half_each import served_by
from conformance.areas.seed.page import PAGES, SOURCE, page
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


@requirement("SEED-13", Level.CORE, needs={"seed"}, source=f"{SOURCE}, 'If our back-end pod dies'")
async def replaced(lab: Lab) -> None:
    """The page MUST go on coming when a pod dies: by the one that stays, and by the replica in its place."""
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
    token = f"conf-{lab.rig.run}-{lab.id.lower()}"
    counted = Aim(aim.vantage, page(lab, served.ip, 8080, path=f"/login?token={token}-{{n}}", count=PAGES))
    seen = await counted.vantage.probe(counted.probe)
    lab.probed("by whom", counted, await served_by(lab, after, token, seen.outcomes))
    says = "both pods that are there now answer, as their logs say, and nobody else"
    lab.expect("covers", "by whom", {"backends": sorted(after.addresses())}, says)
