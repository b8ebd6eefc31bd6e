"""The kubelet of all nodes: watches Pods, keeps one runner for each that is on a node here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.client import Client
from clusters.netns.podrun import PodRun
from clusters.netns.seed import Addresses

if TYPE_CHECKING:
    from clusters.netns.rooms import Rooms

Object = dict[str, Any]


def now() -> str:
    """This moment, as the API writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text: str) -> None:
    """One line in the machine's log."""
    print(text, flush=True)  # noqa: T201


class Kubelet:
    """Starts, watches over and ends the pods of every node."""

    def __init__(self, rooms: Rooms, client: Client) -> None:
        self.rooms = rooms
        self.client = client
        self.runs: dict[str, PodRun] = {}  # by uid
        seeded = rooms.config["seed"]
        self.addresses = {node.name: Addresses(node.index, seeded=seeded) for node in rooms.nodes}

    async def serve(self) -> None:
        """Follow the Pods for ever."""
        async for kind, what in self.client.watch("/api/v1/pods", trouble=say):
            if kind == "SYNC":
                there = {pod["metadata"]["uid"] for pod in what}
                for uid in set(self.runs) - there:
                    self.runs[uid].gone()
                for pod in what:
                    self._see(pod)
            elif kind == "DELETED":
                if run := self.runs.get(what["metadata"]["uid"]):
                    run.gone()
            else:
                self._see(what)

    def find(self, namespace: str, name: str) -> PodRun:
        """The runner of a pod; ClusterError when no node here runs it."""
        for run in self.runs.values():
            meta = run.pod["metadata"]
            if meta["name"] == name and meta.get("namespace", "default") == namespace and not run.closing:
                return run
        raise ClusterError(f"no pod {namespace}/{name} runs on a node of this cluster; "
                           f"kubectl get pods -n {namespace} shows those that do")

    def _see(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if run := self.runs.get(uid):
            run.changed(pod)
            return
        node = (pod.get("spec") or {}).get("nodeName")
        done = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if node not in self.addresses:
            return
        if done and not pod["metadata"].get("deletionTimestamp"):
            return
        run = self.runs[uid] = PodRun(self, self.rooms.node(node), pod)
        self.rooms.spawn(self._run(uid, run))

    async def _run(self, uid: str, run: PodRun) -> None:
        try:
            await run.live()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            meta = run.pod["metadata"]
            say(f"pod {meta.get('namespace')}/{meta['name']}: {type(error).__name__}: {error}")
        finally:
            self.runs.pop(uid, None)
