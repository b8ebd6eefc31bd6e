"""A cluster, agents and a pen without any requirement: for calibration and benches, which judge nobody."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from conformance.evidence import Evidence
from conformance.kube import Kube
from conformance.lab import Lab
from conformance.options import Options
from conformance.rig import Rig
from conformance.session import prepare, standing

ID = "BENCH-00"  # under which everything is written down; no requirement has it
_FILE = "evidence.jsonl"


@asynccontextmanager
async def workbench(options: Options, folder: Path) -> AsyncIterator[Lab]:
    """Raise the cluster of ``options`` with its implementation, and agents in pods and outside.

    What is seen is kept in ``folder``. Raises RunError when the cluster cannot be raised.
    """
    plan = prepare(options, folder=folder, command="workbench", chosen=())
    async with standing(plan) as cluster:
        kube = Kube(cluster.kubeconfig, timeout=plan.timing.request.seconds)
        await kube.open()
        run, evidence = secrets.token_hex(3), Evidence(_fresh(folder))
        evidence.header(run=run, started=_now(), requirements=[])
        rig = Rig(
            cluster, kube, run=run, image=options.agent_image, timing=plan.timing,
            declaration=plan.declaration, now=evidence.now,
        )
        try:
            await rig.powers()
            await rig.stand(frozenset({"outside"}))
            yield Lab(ID, rig, evidence)
        finally:
            evidence.close(ended=_now())
            await rig.close(leave=True)


def _fresh(folder: Path) -> Path:
    """Where to write, without what an earlier run left there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).unlink(missing_ok=True)
    return folder / _FILE


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
