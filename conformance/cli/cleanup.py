"""``service-conformance cleanup CLUSTER``: take away what killed runs left on a cluster."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from clusters import locate
from clusters.base import CanMend, CanStray, ClusterError
from conformance import leftovers
from conformance.kube import Kube, KubeError
from conformance.session import RunError

BROKEN = f", and what it may have broken; one that was killed counts as living for {leftovers.STALE:g} s"
_SECONDS = 30.0  # patience for one answer of the API server


def add(subcommands: Any) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser("cleanup", help="take away what killed runs left on a cluster")
    parser.add_argument("cluster", metavar="URL", help="netns-kept://NAME, kind://NAME or kubeconfig://PATH")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Remove and say what; 0 when nothing of a run that has ended is left. Runs that live keep theirs.

    1 when something is broken and a run that lives may be at it.
    """
    try:
        return asyncio.run(_cleanup(arguments.cluster, dry_run=arguments.dry_run))
    except (ClusterError, KubeError) as problem:
        raise RunError(str(problem)) from problem


async def _cleanup(url: str, *, dry_run: bool) -> int:
    if url.startswith("netns:"):
        raise ClusterError(f"{url}: such a cluster ends with its run; cleanup is for those that stay")
    cluster = await locate.locate(url)
    kube = Kube(cluster.kubeconfig, timeout=_SECONDS)
    try:
        await kube.open()
        broken = await cluster.broken() if isinstance(cluster, CanMend) else {}
        living = await _living(kube, patient=not broken)
        stays = broken if living else {}
        for place, state in broken.items():
            verb = "leaving" if stays else "would mend" if dry_run else "mending"
            print(f"{verb} {place}: {state}", flush=True)
        if broken and not stays and not dry_run and isinstance(cluster, CanMend):
            await cluster.mend()
            living = await leftovers.alive(kube)  # an API server that was away did not tell of any
        found = await leftovers.left(kube, living)
        strays = await cluster.strays() if isinstance(cluster, CanStray) and not living else []
        for what in (*found, *strays):
            print(f"{'would remove' if dry_run else 'removing'} {what}", flush=True)
        if not dry_run:
            await leftovers.remove(kube, found)
            if strays and isinstance(cluster, CanStray):
                await cluster.remove_strays(strays)
        for run in sorted(living):
            print(f"run {run} lives: its objects stay{BROKEN if stays else ''}")
        if not found and not strays and not broken:
            print("nothing was left")
    finally:
        kube.close()
        await cluster.close()
    return int(bool(stays))


async def _living(kube: Kube, *, patient: bool) -> set[str]:
    """The runs that live; none where the API server is away, as it may be when its node is broken."""
    try:
        return await leftovers.alive(kube)
    except KubeError:
        if patient:
            raise
        return set()
