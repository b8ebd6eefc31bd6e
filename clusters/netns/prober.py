"""The probes of one run of a container, and its hooks: asked in the pod's network, judged by ``probes``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from clusters.base import ClusterError
from clusters.netns import probing
from clusters.netns.probes import Action, Probe, Tally, probes

if TYPE_CHECKING:
    from clusters.netns.containerrun import ContainerRun

_FIRST = 0.05  # seconds between probes until the first success; later the probe's own period
_LONGEST_OUTPUT = 10 * 1024  # bytes of a command's output in an event
_LATE = 124  # ``hosts.run``'s status for a command that was out of time


async def attempt(container: ContainerRun, action: Action, timeout: float) -> str:
    """Try an action once; empty when it went well, else why not, in Kubernetes' words."""
    if action.sleep is not None:
        await asyncio.sleep(action.sleep)
        return ""
    if action.argv:
        return await _command(container, action.argv, timeout)
    address, network = action.host or container.pod.network.address, container.pod.host.network
    if not action.path:
        return await probing.tcp_error(network, address, action.port, timeout)
    status, why = await probing.http_answer(
        network, address, action.port, action.path, timeout, action.headers, tls=action.tls)
    if why:
        scheme = "https" if action.tls else "http"
        return f'Get "{scheme}://{address}:{action.port}{action.path}": {why}'
    return "" if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"


async def _command(container: ContainerRun, argv: tuple[str, ...], timeout: float) -> str:
    try:
        status, output, error = await container.execute(argv, timeout)
    except ClusterError as gone:
        return str(gone)
    if status == _LATE:
        return f'command timed out: "{" ".join(argv)}" timed out after {timeout:g}s'
    return "" if status == 0 else (output + error)[:_LONGEST_OUTPUT] or f"exit status {status}"


class Prober:
    """Asks for as long as a run lasts: until started, then for liveness and readiness at once."""

    def __init__(self, container: ContainerRun) -> None:
        self._container = container
        self._probes = probes(container.spec)

    async def run(self) -> None:
        """Keep the container's ``started`` and ``ready``, and have it restarted when it must be."""
        state = self._container.state
        if "startup" in self._probes and not await self._startup(self._probes["startup"]):
            return
        state.started, state.ready = True, "readiness" not in self._probes
        self._container.changed()
        async with asyncio.TaskGroup() as group:
            if probe := self._probes.get("liveness"):
                group.create_task(self._liveness(probe))
            if probe := self._probes.get("readiness"):
                group.create_task(self._readiness(probe))

    async def _startup(self, probe: Probe) -> bool:
        tally = Tally(probe, None)
        await asyncio.sleep(probe.delay)
        while tally.verdict is None:
            # Asked often, so that a start is seen soon; a failure counts once in a period.
            if await self._soon(probe, "Startup"):
                tally.add(True)
            else:
                tally.add(False)
        if not tally.verdict:
            self._container.unhealthy("startup", probe.grace)
        return bool(tally.verdict)

    async def _liveness(self, probe: Probe) -> None:
        tally = Tally(probe, True)
        await asyncio.sleep(probe.delay)
        while True:
            if tally.add(await self._good(probe, "Liveness")):
                self._container.unhealthy("liveness", probe.grace)
                return
            await asyncio.sleep(probe.period)

    async def _readiness(self, probe: Probe) -> None:
        tally, state = Tally(probe, False), self._container.state
        await asyncio.sleep(probe.delay)
        while not tally.verdict:
            if await self._soon(probe, "Readiness"):
                tally.add(True)
        while True:
            if tally.verdict != state.ready:
                state.ready = bool(tally.verdict)
                self._container.changed()
            await asyncio.sleep(probe.period)
            tally.add(await self._good(probe, "Readiness"))

    async def _soon(self, probe: Probe, kind: str) -> bool:
        """Ask often, for one period: True at the first success; a failure at its end is told."""
        end = asyncio.get_running_loop().time() + probe.period
        while True:
            why = await attempt(self._container, probe.action, probe.timeout)
            if not why:
                return True
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                self._tell(kind, why)
                return False
            await asyncio.sleep(min(_FIRST, left))

    async def _good(self, probe: Probe, kind: str) -> bool:
        why = await attempt(self._container, probe.action, probe.timeout)
        if why:
            self._tell(kind, why)
        return not why

    def _tell(self, kind: str, why: str) -> None:
        self._container.tell("Unhealthy", f"{kind} probe failed: {why}", warning=True)
