"""The kubelet of all nodes: watches Pods, keeps one runner for each that is on a node here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.client import ApiError, Client
from clusters.controllers.events import Recorder
from clusters.netns.heart import Heart
from clusters.netns.images import Image
from clusters.netns.podrun import PodRun
from clusters.netns.seed import Addresses

if TYPE_CHECKING:
    from clusters.netns.rooms import Rooms

Object = dict[str, Any]
_AGAIN = 0.2  # seconds between tries at an API server that does not answer


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
        self.images: dict[str, Image] = {}  # those that the implementation brings
        seeded = rooms.config["seed"]
        self.addresses = {node.name: Addresses(node.index, seeded=seeded) for node in rooms.nodes}
        # A node that is cut off or dead hears nothing of the API server, and the API server nothing of it.
        self.reaches = {node.name: asyncio.Event() for node in rooms.nodes}
        self.talks: dict[str, set[asyncio.StreamWriter]] = {node.name: set() for node in rooms.nodes}
        self._returning: dict[str, asyncio.Task[None]] = {}
        self._rebooted: set[str] = set()
        self.recorder = Recorder(client)
        rooms.spawn(self.recorder.run())
        self.heart = Heart(client, float(rooms.config["node_grace"]), self._report)
        for name, reached in self.reaches.items():
            reached.set()
            rooms.spawn(self.heart.beat(name, reached))

    async def serve(self) -> None:
        """Follow the Pods for ever.

        A real API server that has just been started knows nobody's rights for a moment: who is refused asks
        again, as every reflector does.
        """
        while True:
            try:
                await self._follow()
            except ApiError as error:
                say(f"watch of pods refused: {error}; asked again")
            await asyncio.sleep(_AGAIN)

    async def _follow(self) -> None:
        async for kind, what in self.client.watch("/api/v1/pods", trouble=say):
            if kind == "SYNC":
                self._see_all(what, {name for name, reached in self.reaches.items() if reached.is_set()})
            elif not self._reached(what):
                continue
            elif kind == "DELETED":
                if run := self.runs.get(what["metadata"]["uid"]):
                    run.gone()
            else:
                self._see(what)

    def cut_off(self, node: str) -> None:
        """The node no longer reaches the API server: what was streamed between them is cut as well."""
        self.reaches[node].clear()
        for writer in self.talks[node]:
            writer.transport.abort()
        if task := self._returning.pop(node, None):
            task.cancel()

    def back(self, node: str, *, rebooted: bool = False) -> None:
        """The node reaches the API server again, or will once that answers."""
        if rebooted:
            self._rebooted.add(node)
        if not self.reaches[node].is_set() and node not in self._returning:
            self._returning[node] = asyncio.create_task(self._catch_up(node))

    async def _catch_up(self, node: str) -> None:
        """Learn what happened meanwhile, start what ended with the power, say what runs."""
        while True:
            try:
                pods = await self.client.list("/api/v1/pods", field=f"spec.nodeName={node}")
                break
            except ApiError:  # the server is away: it is asked again
                await asyncio.sleep(_AGAIN)
        mine = [run for run in self.runs.values() if run.node.name == node]
        self.reaches[node].set()
        self._see_all(pods, {node})
        if node in self._rebooted:
            self._rebooted.discard(node)
            await asyncio.gather(*(run.again() for run in mine))
        await self.heart.renew(node)  # before its pods: a pod of a node that is given up is not ready
        self._report(node)
        self._returning.pop(node, None)

    def _report(self, node: str) -> None:
        """Have all pods of a node say again how they are: of one given up they were called not ready."""
        for run in self.runs.values():
            if run.node.name == node:
                run.report()

    def _reached(self, pod: Object) -> bool:
        reached = self.reaches.get((pod.get("spec") or {}).get("nodeName") or "")
        return reached is not None and reached.is_set()

    def _see_all(self, pods: list[Object], nodes: set[str]) -> None:
        """All pods there are, for these nodes."""
        there = {pod["metadata"]["uid"] for pod in pods}
        for uid, run in self.runs.items():
            if run.node.name in nodes and uid not in there:
                run.gone()
        for pod in pods:
            if (pod.get("spec") or {}).get("nodeName") in nodes:
                self._see(pod)

    def find(self, namespace: str, name: str, *, closing: bool = False) -> PodRun:
        """The runner of a pod, also of one that is ``closing``; ClusterError when no node here runs it."""
        for run in self.runs.values():
            meta = run.pod["metadata"]
            if meta["name"] == name and meta.get("namespace", "default") == namespace and (
                closing or not run.closing
            ):
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
