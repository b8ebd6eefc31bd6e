"""What runs that were killed left on a cluster, and its removal.

Everything a run makes carries its label. While it lives it renews a Lease in its own namespace; a run whose
Lease was not renewed for STALE seconds, by the clock of who asks, has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from conformance.kube import Kube, KubeError, path_of
from conformance.objects import RUN_LABEL, Object, metadata

LEASE, LEASE_API = "service-conformance", "coordination.k8s.io/v1"
RENEW, STALE = 10.0, 60.0  # seconds between two renewals, and after which nobody is believed to live
_LOOK = 0.2
GONE = 120.0  # seconds for what is removed to be gone; pods take their grace
# Kinds that a run makes, in the order in which they are removed: what makes pods before the pods.
_KINDS = (("Namespace", "v1"), ("Deployment", "apps/v1"), ("Service", "v1"), ("Pod", "v1"),
          ("ConfigMap", "v1"))


@dataclass(frozen=True, order=True)
class Made:
    """One object that a run has made; ``going`` when it was deleted already and is about to be gone."""

    run: str
    kind: str
    api_version: str
    namespace: str
    name: str
    going: bool = False

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name} (run {self.run})"


def lease(run: str, now: datetime) -> Object:
    """The Lease by which others see that a run lives."""
    spec = {"holderIdentity": run, "leaseDurationSeconds": int(STALE), "renewTime": _micro(now)}
    return {"apiVersion": LEASE_API, "kind": "Lease", "metadata": metadata(LEASE, run), "spec": spec}


async def keep_alive(kube: Kube, namespace: str, run: str) -> None:
    """Make the run's Lease and renew it until cancelled. An API server that is away is tried again: no run
    ends for its Lease."""
    held = await kube.create(lease(run, datetime.now(UTC)), namespace)
    while True:
        await asyncio.sleep(RENEW)
        held["spec"]["renewTime"] = _micro(datetime.now(UTC))
        try:
            path = path_of("Lease", LEASE_API, namespace, LEASE)
            answer = await kube.request("PUT", path, held)
            held = answer.body if answer.ok else await kube.get("Lease", LEASE_API, namespace, LEASE)
        except KubeError:
            continue


async def release(kube: Kube, namespace: str) -> None:
    """Delete the run's Lease: it ends now, and not when its namespace has gone or the Lease is old."""
    await kube.delete("Lease", LEASE_API, namespace, LEASE)


async def alive(kube: Kube) -> set[str]:
    """The runs that live on this cluster."""
    leases = await kube.list("Lease", LEASE_API, RUN_LABEL)
    return {one["metadata"]["labels"][RUN_LABEL] for one in leases if _fresh(one, datetime.now(UTC))}


async def left(kube: Kube, living: Collection[str]) -> list[Made]:
    """Everything of runs that are not among the ``living``."""
    return [one for one in await made(kube, RUN_LABEL) if one.run not in living]


async def made(kube: Kube, selector: str) -> list[Made]:
    """What runs that the selector finds have made, but for what goes with its namespace."""
    found = []
    for kind, version in _KINDS:
        for item in await kube.list(kind, version, selector):
            meta = item["metadata"]
            found.append(Made(
                meta["labels"][RUN_LABEL], kind, version, meta.get("namespace", ""), meta["name"],
                "deletionTimestamp" in meta))
    spaces = {one.name for one in found if one.kind == "Namespace"}
    return [one for one in found if one.namespace not in spaces]


def sentence(found: Iterable[Made], cluster: str) -> str:
    """What was left and what to do, in one line; empty when nothing was, but for what is going."""
    every = [one for one in found if not one.going]
    if not every:
        return ""
    runs = ", ".join(sorted({one.run for one in every}))
    return (f"{len(every)} objects of runs that were killed are still there (run {runs}); next: "
            f"service-conformance cleanup {cluster}")


def mendable(broken: Mapping[str, str], cluster: str) -> str:
    """What faults are upon the cluster before the run has begun, and what to do, in one line."""
    said = ", ".join(f"{place} is {what}" for place, what in broken.items())
    return (f"{said}, which a run that was killed leaves behind; next: service-conformance cleanup {cluster} "
            "(or wait, when another run is at work there)")


async def remove(kube: Kube, found: Iterable[Made]) -> None:
    """Delete these and wait until they are gone. Raises KubeError for what stays."""
    waiting = list(found)
    for one in waiting:
        answer = await kube.delete(one.kind, one.api_version, one.namespace, one.name)
        if not answer.ok and answer.code != 404:
            raise KubeError(f"delete {one}: {answer.said()}")
    try:
        async with asyncio.timeout(GONE):
            while waiting := [one for one in waiting if await _there(kube, one)]:  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(_LOOK)
    except TimeoutError as late:
        names = ", ".join(map(str, waiting))
        raise KubeError(f"still there after {GONE:g} s: {names}; look at their finalizers") from late


async def _there(kube: Kube, one: Made) -> bool:
    answer = await kube.request("GET", path_of(one.kind, one.api_version, one.namespace, one.name))
    labels = answer.body.get("metadata", {}).get("labels") or {}
    return bool(labels.get(RUN_LABEL) == one.run)


def _micro(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _fresh(item: Object, now: datetime) -> bool:
    try:
        renewed = datetime.fromisoformat(item["spec"]["renewTime"].replace("Z", "+00:00"))
    except (KeyError, ValueError):
        return False
    return (now - renewed).total_seconds() < STALE
