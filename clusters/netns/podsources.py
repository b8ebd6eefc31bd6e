"""What a pod needs of the API before it can start: ConfigMaps, Secrets, the token of its ServiceAccount."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from clusters.client import ApiError, NotFound
from clusters.netns import podspec

if TYPE_CHECKING:
    from clusters.netns.podrun import PodRun

_AGAIN = 0.2  # seconds between looks for what is not there yet


async def maps(pod: PodRun) -> dict[str, dict[str, str]]:
    """Every ConfigMap and Secret the pod names, waiting for those that must be there."""
    namespace = pod.pod["metadata"].get("namespace", "default")
    found: dict[str, dict[str, str]] = {}
    for source, optional in podspec.sources(pod.pod).items():
        kind, _, name = source.partition("/")
        while True:
            try:
                item = await pod.kubelet.client.get(f"/api/v1/namespaces/{namespace}/{kind}s/{name}")
                found[source] = podspec.texts(item)
                break
            except NotFound:
                if optional:
                    break
                for container in pod.containers:
                    container.state.waiting = ("ContainerCreating", f'{kind} "{name}" not found')
                pod.report()
            except ApiError:
                pass  # the server is away: it is asked again
            await asyncio.sleep(_AGAIN)
    return found


async def token(pod: PodRun) -> str:
    """A token of the pod's ServiceAccount, waiting until there is one."""
    namespace = pod.pod["metadata"].get("namespace", "default")
    account = pod.pod["spec"].get("serviceAccountName") or "default"
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    while True:
        try:
            return str((await pod.kubelet.client.create(path, podspec.TOKEN_REQUEST))["status"]["token"])
        except NotFound:
            for container in pod.containers:
                container.state.waiting = ("ContainerCreating", f'serviceaccount "{account}" not found')
            pod.report()
        except ApiError:
            pass  # the server is away: it is asked again
        await asyncio.sleep(_AGAIN)
