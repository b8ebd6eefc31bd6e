"""From where: an agent in a pod, on a node or outside, and its clock mapped onto the run's.

    VantageError          the suite's own trouble, never the implementation's: verdicts become unknown
    ├── VantageGone       the agent does not answer any more
    └── WrongAgent        another version of the agent, or none, answers there
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clusters.base import ClusterError, Workload
from conformance import agent
from conformance.probes import Attempts, Probe, read

CONTROL_PORT = 8099
ROUNDS, MOST_ROUNDS, GOOD_ROUND = 3, 10, 0.004  # round trips to map a clock; seconds of one that will do
PATIENCE = 5.0  # seconds for a command that does nothing but answer


class VantageError(Exception):
    """What became of a vantage, in a sentence."""


class VantageGone(VantageError):
    """The agent cannot be reached or does not answer."""


class WrongAgent(VantageError):
    """What answers on the control port is not this suite's agent, or another version of it."""


@dataclass(frozen=True)
class Resolved:
    """What the system's own resolver said at a vantage."""

    addresses: tuple[str, ...]
    error: str
    ms: float


class Vantage:
    """One place from which probes are sent, known by its agent's nonce."""

    def __init__(self, name: str, workload: Workload, token: str, now: Callable[[], float]) -> None:
        self.name, self.place, self.workload = name, workload.place, workload
        self.nonce = ""
        self.addresses: tuple[str, ...] = ()
        self.nameservers: tuple[str, ...] = ()
        self.search: tuple[str, ...] = ()
        self.ndots = 1
        self._headers = {"X-Agent-Token": token}
        self._now, self._offset = now, 0.0
        self.uncertainty = 0.0  # seconds by which a time of this place may be wrong

    async def hello(self) -> None:
        """Learn who answers here and map its clock; half the shortest round trip bounds the error.

        Raises VantageGone when nobody answers, WrongAgent when it is not this suite's agent of this version.
        """
        shortest = float("inf")
        said: dict[str, Any] = {}
        for number in range(MOST_ROUNDS):
            if number >= ROUNDS and shortest <= GOOD_ROUND:
                break
            sent = self._now()
            said = await self._call("GET", "/v1/hello", None, PATIENCE)
            took = self._now() - sent
            if said.get("version") != agent.VERSION:
                raise WrongAgent(
                    f"{self.name}: the agent speaks version {said.get('version')!r}, this suite "
                    f"{agent.VERSION!r}; remove what an older run left and run again"
                )
            if took < shortest:
                shortest, self._offset = took, sent + took / 2 - float(said["now"])
                self.uncertainty = took / 2
        self.nonce, self.addresses = str(said["nonce"]), tuple(said["addresses"])
        resolver = said["resolv"]
        self.nameservers, self.search = tuple(resolver["nameservers"]), tuple(resolver["search"])
        self.ndots = int(resolver["ndots"])

    async def probe(self, probe: Probe) -> Attempts:
        """Send ``probe`` from here; times are seconds since the run began. Raises VantageError."""
        answer = await self._call("POST", "/v1/probe", probe.command(), probe.patience)
        try:
            return read(answer, self._offset)
        except ValueError as problem:
            raise WrongAgent(f"{self.name}: {problem}") from problem

    async def resolve(self, name: str, *, family: int = 4, timeout: float = 5.0) -> Resolved:
        """Ask the system's resolver of this place for ``name``. Raises VantageError."""
        command = {"name": name, "family": family, "timeout": timeout}
        said = await self._call("POST", "/v1/resolve", command, timeout + PATIENCE)
        return Resolved(tuple(said["addresses"]), str(said["error"]), float(said["ms"]))

    async def listen(self, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> None:
        """Open and close echo listeners here, each ``tcp:PORT`` or ``udp:PORT``. Raises VantageError."""
        await self._call("POST", "/v1/echo", {"add": list(add), "remove": list(remove)}, PATIENCE)

    async def ready(self, ready: bool) -> None:
        """Make the readiness probe of this pod succeed or fail from now on. Raises VantageError."""
        await self._call("POST", "/v1/ready", {"ready": ready}, PATIENCE)

    async def _call(self, method: str, path: str, command: Any, timeout: float) -> dict[str, Any]:
        told = {} if command is None else {"X-Agent-Command": json.dumps(command)}
        try:
            async with asyncio.timeout(timeout):
                status, answer = await self.workload.request(
                    method, path, headers={**self._headers, **told}, timeout=timeout,
                )
        except (ClusterError, OSError, TimeoutError) as problem:
            said = str(problem) or f"no answer within {timeout:g} s"
            raise VantageGone(f"{self.name} at {self.place}: the agent does not answer: {said}") from problem
        return self._understood(path, status, answer)

    def _understood(self, path: str, status: int, answer: bytes) -> dict[str, Any]:
        try:
            said = json.loads(answer)
        except ValueError as problem:
            short = answer[:200].decode("utf-8", "replace")
            if status in {502, 503, 504}:
                raise VantageGone(f"{self.name} at {self.place}: {status} on the way: {short}") from problem
            raise WrongAgent(f"{self.name}: {path} answered {status}, not JSON: {short}") from problem
        if status in {502, 503, 504} or _from_api_server(said):
            raise VantageGone(f"{self.name} at {self.place}: {status} on the way: {said}")
        if status != 200 or not isinstance(said, dict):
            raise WrongAgent(f"{self.name}: {path} answered {status}: {said}")
        return said


def _from_api_server(said: Any) -> bool:
    """True when it was the API server's proxy that answered: the pod is not, or not yet, where it was."""
    return isinstance(said, dict) and said.get("kind") == "Status" and said.get("status") == "Failure"
