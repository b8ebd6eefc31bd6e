"""A Pod's status as the kubelet writes it, from what is known of its containers. Pure.

Rules: ``pkg/kubelet/status/generate.go`` and ``getPhase`` of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass
class ContainerState:
    """What the kubelet knows of one container. Times are RFC 3339."""

    name: str
    image: str
    number: str = ""  # its id, once started
    started_at: str = ""
    ready: bool = False
    started: bool = False  # its startup probe, if any, has succeeded in this run
    restarts: int = 0
    sidecar: bool = False  # an init container that goes on running
    waiting: tuple[str, str] | None = ("ContainerCreating", "")  # reason, message
    exit_status: int | None = None  # of the run that ended; negative: the signal
    finished_at: str = ""
    message: str = ""  # its last words
    previous: Object = field(default_factory=dict)  # lastState

    def began(self, now: str, number: str) -> None:
        """A run has begun."""
        self.waiting, self.exit_status, self.message = None, None, ""
        self.ready, self.started, self.started_at, self.number = False, False, now, number

    def ended(self, status: int, now: str, message: str) -> None:
        """The run has ended with ``status``; negative: by that signal."""
        if self.waiting is not None:  # it ended before it was seen to run
            self.waiting, self.started_at = None, now
        self.ready, self.started = False, False
        self.exit_status, self.finished_at, self.message = status, now, message

    def terminated(self) -> Object:
        """The ``terminated`` state of the run that ended."""
        status = self.exit_status or 0
        code = 128 - status if status < 0 else status
        state: Object = {
            "exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": self.started_at,
            "finishedAt": self.finished_at, "containerID": self.number,
        }
        if status < 0:
            state["signal"] = -status
        return state | ({"message": self.message} if self.message else {})

    def state(self) -> Object:
        """``waiting``, ``running`` or ``terminated``."""
        if self.waiting is not None:
            reason, message = self.waiting
            return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}
        if self.exit_status is not None:
            return {"terminated": self.terminated()}
        return {"running": {"startedAt": self.started_at}}

    @property
    def running(self) -> bool:
        """Whether the program runs now."""
        return self.waiting is None and self.exit_status is None

    @property
    def initialized(self) -> bool:
        """Whether an init container has done what the next ones wait for."""
        return self.started if self.sidecar else self.exit_status == 0 and self.waiting is None


def phase(
    containers: Sequence[ContainerState], policy: str, inits: Sequence[ContainerState] = (),
) -> str:
    """The pod's phase by its containers' states and its restartPolicy (pod life cycle, Kubernetes docs)."""
    failed_init = any(c.exit_status and c.waiting is None and not c.sidecar for c in inits)
    if failed_init and policy == "Never":
        return "Failed"
    never_ran = [c for c in containers if c.waiting is not None and not c.restarts]
    if never_ran:
        return "Pending"
    ended = [c for c in containers if c.exit_status is not None and c.waiting is None]
    if len(ended) < len(containers) or policy == "Always":
        return "Running"
    failed = any(c.exit_status != 0 for c in ended)
    if not failed:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def conditions(
    containers: Sequence[ContainerState], inits: Sequence[ContainerState], current: str,
    gates: Sequence[str], extra: Sequence[Object],
) -> list[Object]:
    """The kubelet's conditions, without their times. ``gates``: conditions of others that Ready waits for."""
    sidecars = [c for c in inits if c.sidecar]
    unready = [c.name for c in (*sidecars, *containers) if not c.ready]
    why: Object = {}
    if current in ("Succeeded", "Failed"):
        why = {"reason": "PodCompleted" if current == "Succeeded" else "PodFailed"}
    elif unready or not containers:
        names = " ".join(unready)
        why = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{names}]"}
    told = {c.get("type"): c.get("status") for c in extra}
    missing = [
        f'corresponding condition of pod readiness gate "{gate}" does not exist.' if gate not in told else
        f'the status of pod readiness gate "{gate}" is not "True", but {told[gate]}'
        for gate in gates if told.get(gate) != "True"]
    gated = why or ({"reason": "ReadinessGatesNotReady", "message": ", ".join(missing)} if missing else {})
    incomplete = [c.name for c in inits if not c.initialized]
    begun = any(c.running or c.exit_status is not None or c.restarts for c in containers)
    held: Object = {}
    if incomplete and not begun:
        names = " ".join(incomplete)
        held = {"reason": "ContainersNotInitialized",
                "message": f"containers with incomplete status: [{names}]"}
    return [
        {"type": "Initialized", "status": str(not held)} | held,
        {"type": "Ready", "status": str(not gated)} | gated,
        {"type": "ContainersReady", "status": str(not why)} | why,
        {"type": "PodScheduled", "status": "True"},
    ]


def build(
    containers: Sequence[ContainerState], *, policy: str, addresses: Sequence[str],
    host_addresses: Sequence[str], started: str, now: str, before: Object,
    inits: Sequence[ContainerState] = (), gates: Sequence[str] = (), extra: Sequence[Object] = (),
    reason: str = "", message: str = "",
) -> Object:
    """The whole status; conditions keep the time of their last change from ``before``.

    ``extra`` are conditions of others (the scheduler's) that must stay. A pod with ``reason`` has failed.
    """
    current = "Failed" if reason else phase(containers, policy, inits)
    made = conditions(containers, inits, current, gates, extra)
    mine = {c["type"] for c in made}
    made += [c for c in extra if c.get("type") not in mine]
    known = {c.get("type"): c for c in before.get("conditions") or ()}
    for condition in made:
        old = known.get(condition["type"], {})
        same = old.get("status") == condition["status"]
        condition.setdefault("lastTransitionTime", old.get("lastTransitionTime", now) if same else now)
    status: Object = {
        "phase": current, "conditions": made,
        "hostIP": host_addresses[0], "hostIPs": _ips(host_addresses),
        "startTime": started, "qosClass": "BestEffort",
        "containerStatuses": [_container(c) for c in containers],
        "reason": reason or None, "message": message or None,
    }
    if inits:
        status["initContainerStatuses"] = [_container(c, init=True) for c in inits]
    if addresses:
        status |= {"podIP": addresses[0], "podIPs": _ips(addresses)}
    return status


def _ips(addresses: Sequence[str]) -> list[Object]:
    return [{"ip": address} for address in addresses]


def _container(state: ContainerState, *, init: bool = False) -> Object:
    ready = state.initialized if init and not state.sidecar else state.ready
    return {
        "name": state.name, "image": state.image, "imageID": f"stand-in://{state.image}",
        "containerID": state.number, "ready": ready, "started": state.started,
        "restartCount": state.restarts, "state": state.state(), "lastState": state.previous,
    }
