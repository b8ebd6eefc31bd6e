"""A kept cluster as the judge sees it: ``netns-kept://NAME``. Leaving it does not end it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from clusters.base import ClusterError, Implementation, Workload
from clusters.netns import kept, plan
from clusters.netns.cluster import NetnsCluster
from clusters.netns.runfolder import RunFolder


class AttachedCluster(NetnsCluster):
    """A cluster that somebody else holds. What was placed through this object ends when it is closed."""

    def __init__(self, url: str, found: kept.Kept) -> None:
        super().__init__(url, plan.parse(found.url))
        folder = Path(found.run_folder)
        self._folder = RunFolder(folder.name.rpartition("-")[2], folder, -1)
        self._found = found
        self._placed: list[tuple[str, str]] = []

    @classmethod
    async def attach(cls, url: str) -> AttachedCluster:
        """The kept cluster of this URL; ClusterError names those there are."""
        cluster = cls(url, kept.find(kept.name_in(url)))
        await cluster._learn()
        return cluster

    async def provide(self, implementation: Implementation) -> None:
        """Nothing when just this was started with the cluster; else as for any cluster."""
        if implementation_name(self._found) != implementation.name:
            await super().provide(implementation)

    async def place_outside(
        self, place: str, name: str, files: Mapping[str, bytes], argv: Sequence[str], port: int,
    ) -> Workload:
        """As for any cluster; ended by ``close``."""
        self._placed.append((place, name))
        return await super().place_outside(place, name, files, argv, port)

    async def close(self) -> None:
        """Leave the cluster as it was found: what was placed is ended, everything else stays."""
        if self._folder is None:
            return
        for place, name in self._placed:
            with suppress(ClusterError):
                await self._ask({"op": "remove", "place": place, "name": name})
        self._folder = None


def implementation_name(found: kept.Kept) -> str:
    """The name of what was started with the cluster."""
    return Path(found.implementation).name.removesuffix(".toml")
