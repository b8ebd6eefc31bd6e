"""Probes and lifecycle hooks of a container: what is asked, how often, and what the answers mean. Pure.

Rules: ``pkg/kubelet/prober/worker.go`` of Kubernetes 1.36 and the API reference's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
KINDS = ("startup", "liveness", "readiness")


@dataclass(frozen=True)
class Action:
    """One thing to try: a command (``argv``), a GET (with a ``path``), else a TCP connection to ``port``."""

    port: int = 0
    path: str = ""
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    argv: tuple[str, ...] = ()
    tls: bool = False  # HTTPS; the certificate is not looked at
    sleep: float | None = None  # a hook that only waits, seconds


@dataclass(frozen=True)
class Probe:
    """A probe with its defaults filled in. Durations in seconds."""

    action: Action
    delay: float = 0
    period: float = 10
    timeout: float = 1
    successes: int = 1
    failures: int = 3
    grace: float | None = None  # for the container that it ends; None: the pod's


def action(container: Object, handler: Object, what: str) -> Action:
    """The action of a probe or hook; ValueError names what is not supported, ``what`` says of what."""
    if command := (handler.get("exec") or {}).get("command"):
        return Action(argv=tuple(command))
    if "sleep" in handler:
        return Action(sleep=float((handler["sleep"] or {}).get("seconds") or 0))
    http, tcp = handler.get("httpGet"), handler.get("tcpSocket")
    if http is None and tcp is None:
        raise ValueError(f"a {what} needs httpGet, tcpSocket or exec; others, such as grpc, are not "
                         "supported here")
    target = http or tcp or {}
    port = target.get("port")
    if isinstance(port, str) and not port.isdigit():
        named = {p.get("name"): p["containerPort"] for p in container.get("ports") or ()}
        if port not in named:
            raise ValueError(f"the {what}'s port {port!r} is not among the container's ports")
        port = named[port]
    headers = tuple((h["name"], h["value"]) for h in (http or {}).get("httpHeaders") or ())
    path = (http.get("path") or "/") if http else ""
    return Action(int(port or 0), path if path.startswith("/") or not http else f"/{path}",
                  target.get("host") or "", headers, tls=(http or {}).get("scheme") == "HTTPS")


def probes(container: Object) -> dict[str, Probe]:
    """The container's probes by their kind; ValueError names what is not supported."""
    found = {}
    for kind in KINDS:
        if probe := container.get(f"{kind}Probe"):
            grace = probe.get("terminationGracePeriodSeconds")
            found[kind] = Probe(
                action(container, probe, f"{kind}Probe"),
                delay=probe.get("initialDelaySeconds") or 0, period=probe.get("periodSeconds") or 10,
                timeout=probe.get("timeoutSeconds") or 1, successes=probe.get("successThreshold") or 1,
                failures=probe.get("failureThreshold") or 3, grace=None if grace is None else float(grace),
            )
    return found


def hook(container: Object, name: str) -> Action | None:
    """The container's ``postStart`` or ``preStop``; ValueError names what is not supported."""
    handler = (container.get("lifecycle") or {}).get(name)
    return action(container, handler, f"{name} hook") if handler else None


class Tally:
    """Answers of one probe, counted: the verdict changes after enough equal ones in a row."""

    def __init__(self, probe: Probe, verdict: bool | None) -> None:
        self._probe = probe
        self.verdict = verdict  # None: not known yet
        self._last: bool | None = None
        self._row = 0

    def add(self, good: bool) -> bool:
        """Count an answer; True when the verdict has changed by it."""
        self._row = self._row + 1 if good == self._last else 1
        self._last = good
        if self._row < (self._probe.successes if good else self._probe.failures) or good == self.verdict:
            return False
        self.verdict = good
        return True


def go_duration(seconds: float) -> str:
    """Whole seconds as Go prints a duration: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


class BackOff:
    """How long a container that ended waits for its next start: at once, 10 s, 20 s, … 5 minutes at most.

    Rule: ``doBackOff`` of the kubelet; a run of ten minutes makes it begin anew.
    """

    _FIRST, _LONGEST, _FORGOTTEN = 10.0, 300.0, 600.0

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, ran: float) -> float:
        """Seconds to wait after a run of ``ran`` seconds."""
        if ran >= self._FORGOTTEN:
            self._next = 0.0
        wait, self._next = self._next, min(self._LONGEST, self._next * 2 or self._FIRST)
        return wait


def restarts(policy: str, status: int) -> bool:
    """Whether a container starts again by its restartPolicy after it ended with ``status``."""
    return policy == "Always" or (policy == "OnFailure" and status != 0)


def policy_of(pod: Mapping[str, Any], container: Object, *, init: bool) -> str:
    """The restartPolicy that holds for a container: an init container that succeeded is done."""
    if init and container.get("restartPolicy") == "Always":
        return "Always"  # a sidecar
    policy = str(pod["spec"].get("restartPolicy") or "Always")
    return "OnFailure" if init and policy == "Always" else policy
