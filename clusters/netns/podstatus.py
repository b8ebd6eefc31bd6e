"""A Pod's status as the kubelet writes it, from what is known of its containers. Pure."""

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
    restarts: int = 0
    waiting: tuple[str, str] | None = ("ContainerCreating", "")  # reason, message
    exit_status: int | None = None  # of the run that ended; negative: the signal
    finished_at: str = ""
    previous: Object = field(default_factory=dict)  # lastState

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
        return state

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


def phase(containers: Sequence[ContainerState], policy: str) -> str:
    """The pod's phase by its containers' states and its restartPolicy (pod life cycle, Kubernetes docs)."""
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


def build(
    containers: Sequence[ContainerState], *, policy: str, address: str, host_address: str, started: str,
    now: str, before: Object, extra: Sequence[Object] = (), reason: str = "", message: str = "",
) -> Object:
    """The whole status; conditions keep the time of their last change from ``before``.

    ``extra`` are conditions of others (the scheduler's) that must stay. A pod with ``reason`` has failed.
    """
    ready = bool(containers) and all(c.ready for c in containers)
    current = "Failed" if reason else phase(containers, policy)
    done = current == "Succeeded"
    waiting = [c.name for c in containers if not c.ready]
    unready = {} if ready else {
        "reason": "PodCompleted" if done else "ContainersNotReady",
        "message": "" if done else f"containers with unready status: [{' '.join(waiting)}]",
    }
    conditions: list[Object] = [
        {"type": "Initialized", "status": "True"},
        {"type": "Ready", "status": str(ready)} | unready,
        {"type": "ContainersReady", "status": str(ready)} | unready,
        {"type": "PodScheduled", "status": "True"},
    ]
    mine = {c["type"] for c in conditions}
    conditions += [c for c in extra if c.get("type") not in mine]
    known = {c.get("type"): c for c in before.get("conditions") or ()}
    for condition in conditions:
        old = known.get(condition["type"], {})
        same = old.get("status") == condition["status"]
        condition.setdefault("lastTransitionTime", old.get("lastTransitionTime", now) if same else now)
    status: Object = {
        "phase": current, "conditions": conditions, "hostIP": host_address, "hostIPs": [{"ip": host_address}],
        "startTime": started, "qosClass": "BestEffort",
        "containerStatuses": [_container(c) for c in containers],
        "reason": reason or None, "message": message or None,
    }
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _container(state: ContainerState) -> Object:
    return {
        "name": state.name, "image": state.image, "imageID": f"stand-in://{state.image}",
        "containerID": state.number, "ready": state.ready, "started": state.running,
        "restartCount": state.restarts, "state": state.state(), "lastState": state.previous,
    }
