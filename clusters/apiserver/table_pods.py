"""How pods are shown: READY, STATUS, RESTARTS and the rest, as ``printPod`` of Kubernetes 1.36. Pure."""

from __future__ import annotations

from clusters.apiserver.columns import (
    NONE,
    Cells,
    Layout,
    Object,
    age,
    columns,
    condition,
    human,
    moment,
    name,
    part,
)

_ENDED = {"Succeeded", "Failed"}


class _Reading:
    """What the containers of one pod say together."""

    def __init__(self, pod: Object) -> None:
        self.pod, self.status, self.spec = pod, part(pod, "status"), part(pod, "spec")
        self.reason = self.status.get("reason") or self.status.get("phase", "")
        self.ready = self.restarts = self.sidecar_restarts = 0
        self.last_restart: float | None = None
        self.sidecars = {
            container.get("name")
            for container in self.spec.get("initContainers") or ()
            if container.get("restartPolicy") == "Always"
        }
        self.total = len(self.spec.get("containers") or ()) + len(self.sidecars)
        if any(
            found.get("type") == "PodScheduled" and found.get("reason") == "SchedulingGated"
            for found in self.status.get("conditions") or ()
        ):
            self.reason = "SchedulingGated"

    def read(self) -> None:
        starting = self._read_init()
        if not starting or condition(self.pod, "Initialized") == "True":
            self._read_main()
        if "deletionTimestamp" in self.pod["metadata"]:
            if self.status.get("reason") == "NodeLost":
                self.reason = "Unknown"
            elif self.status.get("phase") not in _ENDED:
                self.reason = "Terminating"

    def _note_restart(self, container: Object) -> None:
        at = moment(part(container, "lastState", "terminated").get("finishedAt"))
        if at is not None and (self.last_restart is None or at > self.last_restart):
            self.last_restart = at

    def _read_init(self) -> bool:
        """Reads the init containers up to the first that is not done; True when there is such a one."""
        for index, container in enumerate(self.status.get("initContainerStatuses") or ()):
            count = container.get("restartCount", 0)
            self.restarts += count
            self._note_restart(container)
            sidecar = container.get("name") in self.sidecars
            if sidecar:
                self.sidecar_restarts += count
            ended = part(container, "state").get("terminated")
            if ended is not None and not ended.get("exitCode"):
                continue
            if sidecar and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            waiting = part(container, "state", "waiting").get("reason", "")
            if ended is not None:
                self.reason = "Init:" + _end(ended)
            elif waiting and waiting != "PodInitializing":
                self.reason = f"Init:{waiting}"
            else:
                self.reason = f"Init:{index}/{len(self.spec.get('initContainers') or ())}"
            return True
        return False

    def _read_main(self) -> None:
        self.restarts, running = self.sidecar_restarts, False
        for container in reversed(self.status.get("containerStatuses") or ()):
            self.restarts += container.get("restartCount", 0)
            self._note_restart(container)
            state = part(container, "state")
            if part(state, "waiting").get("reason"):
                self.reason = state["waiting"]["reason"]
            elif state.get("terminated") is not None:
                self.reason = _end(state["terminated"])
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            self.reason = "Running" if condition(self.pod, "Ready") == "True" else "NotReady"


def _end(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def pod_cells(pod: Object, now: float) -> Cells:
    """The cells of one pod."""
    found = _Reading(pod)
    found.read()
    restarts = str(found.restarts)
    if found.restarts and found.last_restart is not None:
        restarts = f"{restarts} ({human(now - found.last_restart)} ago)"
    address = next((ip.get("ip") for ip in found.status.get("podIPs") or ()), found.status.get("podIP"))
    gates = found.spec.get("readinessGates") or ()
    passed = sum(condition(pod, gate.get("conditionType", "")) == "True" for gate in gates)
    return [
        name(pod),
        f"{found.ready}/{found.total}",
        found.reason,
        restarts,
        age(pod, now),
        address or NONE,
        found.spec.get("nodeName") or NONE,
        found.status.get("nominatedNodeName") or NONE,
        f"{passed}/{len(gates)}" if gates else NONE,
    ]


def pod_conditions(pod: Object) -> list[dict[str, str]]:
    """The conditions of a pod's row: that it has ended, so that a reader may leave it out."""
    phase = part(pod, "status").get("phase")
    if phase not in _ENDED:
        return []
    words = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": words}]


LAYOUTS = {
    "Pod": Layout(
        columns("Name, Ready, Status, Restarts, Age, IP*, Node*, Nominated Node*, Readiness Gates*"),
        pod_cells,
    )
}
