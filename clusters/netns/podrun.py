"""One pod from its start to its end, as a kubelet runs it."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING, Any

from clusters.base import ClusterError
from clusters.client import ApiError, Conflict, NotFound
from clusters.netns import images, podsources, podspec, podstatus
from clusters.netns.containerrun import ContainerRun
from clusters.netns.hosts import Host
from clusters.netns.plan import NodePlan
from clusters.netns.podnetwork import PodNetwork

if TYPE_CHECKING:
    from clusters.netns.kubelet import Kubelet

Object = dict[str, Any]
_AGAIN = 0.2  # seconds between tries to write the status


class PodRun:
    """A pod on a node. ``changed`` and ``gone`` say what the API says; ``live`` is its whole life."""

    def __init__(self, kubelet: Kubelet, node: NodePlan, pod: Object) -> None:
        self.kubelet = kubelet
        self.node = node
        self.pod = pod
        self.network = PodNetwork(kubelet, node, pod)
        self.token = ""  # of its ServiceAccount, for containers that get it
        self.closing = False
        self.inits: list[ContainerRun] = []
        self.mains: list[ContainerRun] = []
        meta = pod["metadata"]
        self.folder = kubelet.rooms.folder / "pods" / meta["uid"]
        self.name = f"{meta.get('namespace', 'default')}/{meta['name']}"
        self.long_name = f"{meta['name']}_{meta.get('namespace', 'default')}({meta['uid']})"
        self._ending = asyncio.Event()
        self._grace: float | None = None
        self._dirty = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._failed = ("", "")
        self._started = _now()
        if meta.get("deletionTimestamp"):
            self.changed(pod)

    def changed(self, pod: Object) -> None:
        """A newer version of the pod's object."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            grace = pod["metadata"].get("deletionGracePeriodSeconds")
            self._close(float(30 if grace is None else grace))

    def gone(self) -> None:
        """The pod is no longer in the API: end it at once."""
        self._close(0.0)

    def _close(self, grace: float) -> None:
        if self.closing and (self._grace is None or grace < self._grace):
            for container in self.containers:
                container.hasten(grace)
        self._grace, self.closing = grace, True
        self._ending.set()

    def report(self) -> None:
        """Something that the status shows has changed."""
        self._dirty.set()

    @property
    def host(self) -> Host:
        """The node's host; another one after a power cut."""
        return self.kubelet.rooms.host(self.node.name)

    @property
    def facts(self) -> podspec.Facts:
        """What only the node knows."""
        return podspec.Facts(self.network.addresses, self.node.addresses, self.node.name)

    @property
    def containers(self) -> list[ContainerRun]:
        """All containers, those that run first at the end."""
        return [*self.mains, *self.inits]

    def tell(
        self, reason: str, message: str, *, warning: bool = False, container: ContainerRun | None = None,
    ) -> None:
        """An Event about the pod, or about one of its containers."""
        path = ""
        if container is not None:
            path = f"spec.{'initContainers' if container.init else 'containers'}{{{container.spec['name']}}}"
        self.kubelet.recorder.note(
            {**self.pod, "kind": "Pod", "apiVersion": "v1"}, "kubelet", reason, message,
            "Warning" if warning else "Normal", host=self.node.name, field=path)

    async def live(self) -> None:
        """Start the pod, keep its status, end it when it is deleted."""
        reporter = asyncio.create_task(self._reporter())
        try:
            self._starting = asyncio.create_task(self._begin())
            await self._until_closed()
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            grace = 30.0 if self._grace is None else self._grace
            await self._end(grace)
        finally:
            reporter.cancel()
            await asyncio.gather(reporter, return_exceptions=True)
            await self.network.release()
            shutil.rmtree(self.folder, ignore_errors=True)
        await self._take_away()

    async def _take_away(self) -> None:
        """Have the API forget the pod; asked again while its server is out of reach, as nobody else will."""
        while True:
            await self.kubelet.reaches[self.node.name].wait()
            try:
                if self._dirty.is_set() and self._grace:  # how it ended, for those who watch; tried once
                    self._dirty.clear()
                    await self._write_status()
                await self.kubelet.client.delete(self._path(), grace=0, uid=self.pod["metadata"]["uid"])
                return
            except (NotFound, Conflict):  # gone, or another of its name
                return
            except ApiError as error:
                print(f"pod {self.name}: not taken away: {error}; tried again", flush=True)  # noqa: T201
                await asyncio.sleep(_AGAIN)

    async def _until_closed(self) -> None:
        """Wait until the pod is deleted; one that is active longer than it may be fails meanwhile."""
        spec = self.pod["spec"]
        try:
            async with asyncio.timeout(spec.get("activeDeadlineSeconds")):
                await self._ending.wait()
        except TimeoutError:
            if self._starting is not None and not self._is_done:
                self._starting.cancel()
                self._failed = ("DeadlineExceeded",
                                "Pod was active on the node longer than the specified deadline")
                await self._end(float(spec.get("terminationGracePeriodSeconds") or 0))
                self.report()
            await self._ending.wait()

    @property
    def _is_done(self) -> bool:
        """Whether all its work has ended."""
        return bool(self.mains) and all(container.finished for container in self.mains)

    async def again(self) -> None:
        """The node has power again: a new network with the same address, and every container anew."""
        if self._starting is None or self.closing or self._failed[0]:
            return
        self._starting.cancel()
        await asyncio.gather(self._starting, *(one.give_up() for one in self.containers),
                             return_exceptions=True)
        self.network.lost()
        if not self.closing:
            self._starting = asyncio.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self._start()
        except Exception as error:  # whatever it is, the pod's status says so
            self._failed = ("StartError", str(error))
            self.tell("Failed", f"Error: {error}", warning=True)
            self.report()

    async def _start(self) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        if not self.containers:
            self._images()
        if any(container.image is None for container in self.containers):
            return
        await self.network.take()
        maps = await podsources.maps(self)
        if any(container.image and container.image.account for container in self.containers):
            self.token = await podsources.token(self)
        for container in self.inits:
            container.begin(maps)
            while not container.state.initialized:
                if container.finished:
                    return  # it failed, and the pod with it
                container.moved.clear()
                await container.moved.wait()
        for container in self.mains:
            container.begin(maps)
        self.report()
        await self._complete()

    async def _complete(self) -> None:
        """End the sidecars once all others have ended for good."""
        for container in self.mains:
            while not container.finished:
                container.moved.clear()
                await container.moved.wait()
        grace = float(self.pod["spec"].get("terminationGracePeriodSeconds") or 0)
        for container in reversed(self.inits):
            if container.sidecar:
                await container.end(grace)

    async def _end(self, grace: float) -> None:
        """End all containers, sidecars after the others, in the reverse order of their start."""
        began = time.monotonic()
        await asyncio.gather(*(container.end(grace) for container in self.mains))
        for container in reversed(self.inits):
            left = grace - (time.monotonic() - began)
            await container.end(max(left, min(grace, 1.0)))

    def _images(self) -> None:
        """Make the containers; when one has no stand-in, all wait, as after a failed pull."""
        spec = self.pod["spec"]
        first = spec.get("initContainers") or ()
        for init, wanted in ((True, first), (False, spec["containers"])):
            for container in wanted:
                image = images.find(container["image"], self.kubelet.images)
                run = ContainerRun(self, container, image, init=init)
                (self.inits if init else self.mains).append(run)
                run.state.waiting = ("PodInitializing" if first else "ContainerCreating", "")
                if image is None:
                    why = images.missing(container["image"], self.kubelet.images)
                    run.state.waiting = ("ErrImagePull", why)
                    run.tell("Failed", f'Failed to pull image "{container["image"]}": {why}', warning=True)
                    run.tell("Failed", "Error: ErrImagePull", warning=True)
                    self.report()

    def _path(self) -> str:
        meta = self.pod["metadata"]
        return f"/api/v1/namespaces/{meta.get('namespace', 'default')}/pods/{meta['name']}"

    async def _reporter(self) -> None:
        """Write the status whenever it changed; the newest state, however often it changed meanwhile."""
        while True:
            await self._dirty.wait()
            await self.kubelet.reaches[self.node.name].wait()
            self._dirty.clear()
            try:
                await self._write_status()
            except NotFound:
                return
            except (ApiError, ClusterError) as error:
                print(f"pod {self.name}: status not written: {error}", flush=True)  # noqa: T201
                self._dirty.set()
                await asyncio.sleep(_AGAIN)

    async def _write_status(self) -> None:
        spec, before = self.pod["spec"], self.pod.get("status") or {}
        reason, message = self._failed
        status = podstatus.build(
            [container.state for container in self.mains], inits=[one.state for one in self.inits],
            policy=spec.get("restartPolicy") or "Always", addresses=self.network.addresses,
            gates=[gate.get("conditionType", "") for gate in spec.get("readinessGates") or ()],
            host_addresses=self.node.addresses, started=self._started, now=_now(), before=before,
            extra=before.get("conditions") or (), reason=reason, message=message,
        )
        self.pod["status"] = (await self.kubelet.client.patch_status(
            self._path(), {"metadata": {"uid": self.pod["metadata"]["uid"]}, "status": status},
        )).get("status") or {}


def _now() -> str:
    from clusters.netns.kubelet import now

    return now()
