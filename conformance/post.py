"""The blog post's own objects: Deployment nextcloud-dev with two replicas, its two Services, and a pod to ask
from.

Names, labels, ports and image are the post's, to the letter; the run's label is all that is added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from conformance import objects
from conformance.kube import Objects
from conformance.objects import Object
from conformance.rig import Backend, Rig, Wanted, is_ready, raise_if_stuck

DEPLOYMENT, CLUSTER_IP, NODE_PORT = "nextcloud-dev", "nextcloud-dev-clusterip", "nextcloud-dev-nodeport"
LABELS = {"app": "nextcloud", "environment": "dev"}
REPLICAS = 2


@dataclass(frozen=True)
class Post:
    """The post's objects as they stand on the cluster."""

    namespace: str
    pods: tuple[Object, ...]
    services: Mapping[str, Object]  # by name
    client: Backend

    def addresses(self) -> dict[str, str]:
        """Pod address by pod name."""
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in self.pods}


def service(name: str, run: str) -> Object:
    """One of the post's two Services; the API server gives addresses and ports."""
    if name == CLUSTER_IP:
        made = objects.service(name, run, [{"port": 8080, "targetPort": 80}], LABELS, type="ClusterIP")
    else:
        made = objects.service(name, run, [{"port": 80}], LABELS, type="NodePort")
    made["metadata"]["labels"].update(LABELS)
    return made


def namespace_of(rig: Rig) -> str:
    """Where the post's objects are."""
    return rig.cluster.namespace or f"conf-{rig.run}-seed"


def container(rig: Rig) -> Object:
    """The post's container, or the stand-in that the run was given; unlike the post's ready once it listens.

    Without, a pod becomes an endpoint a moment before anybody listens there, and who asks then is refused.
    """
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1, "timeoutSeconds": 5}
    ports = [{"containerPort": 80}]
    return {"name": "nextcloud", "image": rig.nextcloud, "ports": ports, "readinessProbe": probe}


async def stand(rig: Rig) -> Post:
    """Make the post's objects and wait until both pods are ready and listed. Raises KubeError."""
    namespace = namespace_of(rig)
    if rig.cluster.namespace is None:
        await rig.make_namespace(namespace)
    deployment = objects.deployment(DEPLOYMENT, rig.run, REPLICAS, LABELS, container(rig))
    made = await asyncio.gather(
        rig.kube.create(deployment, namespace),
        *[rig.kube.create(service(name, rig.run), namespace) for name in (CLUSTER_IP, NODE_PORT)],
    )
    pods = await ready_pods(rig, namespace, LABELS)
    where = rig.nodes[min(1, len(rig.nodes) - 1)].name  # the second node, as in the post
    client, = await rig.agents(namespace, [Wanted("debian-bash", where, {"run": "debian-bash"})])
    services = {one["metadata"]["name"]: one for one in made[1:]}
    return Post(namespace, tuple(pods), services, client)


async def ready_pods(rig: Rig, namespace: str, labels: Mapping[str, str], without: str = "") -> list[Object]:
    """The pods with these labels once two are ready, by name; ``without`` must be none of them.

    Raises KubeError at once when one cannot start, or after patience.
    """
    def found(known: Objects) -> list[Object] | None:
        pods = [pod for (where, _), pod in known.items() if where == namespace
                and labels.items() <= pod["metadata"].get("labels", {}).items()]
        for pod in pods:
            raise_if_stuck(pod)
        gone = any(_name(pod) == without for pod in pods)
        ready = sorted((pod for pod in pods if is_ready(pod)), key=_name)
        return ready if len(ready) >= REPLICAS and not gone else None

    what = f"{REPLICAS} ready pods with {dict(labels)} in {namespace}"
    return await rig.pods.until(found, rig.timing.pods.seconds, what)


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])
