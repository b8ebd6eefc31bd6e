"""The heartbeat of every node: a Lease that its kubelet renews for as long as the API server is reached.

Rule: Kubernetes' "Nodes, heartbeats": the kubelet renews its Lease in ``kube-node-lease`` every 10 s; the
node controller marks a node Unknown that was not heard of for 40 s. Both shrink together here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from clusters.client import ApiError, Client, NotFound

Object = dict[str, Any]
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LONGEST = 10.0  # seconds between heartbeats
_FIRST = 0.5  # seconds before the first: a cluster that is being raised has more urgent work


class Heart:
    """Renews Leases; ``grace`` is how many seconds of silence the node controller allows.

    ``taken_back`` is told of a node that had been given up and is Ready again.
    """

    def __init__(self, client: Client, grace: float, taken_back: Callable[[str], None]) -> None:
        self._client, self._taken_back = client, taken_back
        self._period = min(_LONGEST, grace / 4)

    async def beat(self, node: str, reached: asyncio.Event) -> None:
        """Renew the Lease of a node for ever, while ``reached`` is set."""
        await asyncio.sleep(min(_FIRST, self._period))
        while True:
            await reached.wait()
            await self.renew(node)
            await asyncio.sleep(self._period)

    async def renew(self, node: str) -> None:
        """One heartbeat; and the node is Ready again if it had been given up."""
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        seconds = max(1, round(4 * self._period))
        spec = {"holderIdentity": node, "renewTime": when, "leaseDurationSeconds": seconds}
        try:
            try:
                await self._client.patch(f"{_LEASES}/{node}", {"spec": spec})
            except NotFound:
                await self._client.create(_LEASES, {
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": node, "namespace": "kube-node-lease"}, "spec": spec,
                })
            item = await self._client.get(f"/api/v1/nodes/{node}")
            conditions = [ready_again(one) for one in item["status"].get("conditions") or ()]
            if conditions != item["status"].get("conditions"):
                status = {"conditions": conditions}
                await self._client.patch_status(f"/api/v1/nodes/{node}", {"status": status})
                self._taken_back(node)
        except ApiError as error:
            print(f"node {node}: no heartbeat: {error}", flush=True)  # noqa: T201


def ready_again(condition: Object) -> Object:
    """The condition as a living kubelet reports it: Ready, since now if it was not."""
    if condition.get("type") != "Ready" or condition.get("status") == "True":
        return condition
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return condition | {
        "status": "True", "reason": "KubeletReady", "message": "the host's init is running",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }
