"""Raises both clusters and gives each case to both; differences are gathered by kind, with one example."""

from __future__ import annotations

import asyncio
import base64
import re
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import yaml
from hypothesis import HealthCheck, Phase, given, settings

from clusters.base import Cluster
from clusters.locate import locate
from clusters.tests.differential import Case, Server, cases, differences

Found = dict[str, tuple[int, str]]  # difference -> how often, and the first case that shows it
# Differences that stay, each with its reason (clusters/README.md tells them to users).
KNOWN: tuple[tuple[re.Pattern[str], str], ...] = ()


def server_of(cluster: Cluster, folder: Path) -> Server:
    """The API server of a cluster, as its kubeconfig reaches it."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    about = config["clusters"][0]["cluster"]
    file = folder / f"{about['server'].rpartition(':')[2]}.crt"
    file.write_bytes(base64.b64decode(about["certificate-authority-data"]))
    return Server(about["server"], config["users"][0]["user"]["token"], str(file))


def carry_out(count: int, *, seed: int | None = None) -> tuple[int, Found]:
    """``count`` cases on both servers; gives how many were done and what differs without a known reason."""
    return asyncio.run(_carry_out(count, seed))


async def _carry_out(count: int, seed: int | None) -> tuple[int, Found]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = []
        for url in ("netns://1-nodes", "netns://1-nodes?control-plane=real"):
            cluster = await locate(url)
            stack.push_async_callback(cluster.close)
            servers.append(server_of(cluster, folder))
        return await asyncio.get_running_loop().run_in_executor(None, _cases, servers, count, seed)


def _cases(servers: list[Server], count: int, seed: int | None) -> tuple[int, Found]:
    found: Found = {}
    done = 0

    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck), derandomize=seed is None)
    @given(cases())
    def each(case: Case) -> None:
        nonlocal done
        done += 1
        for line in differences(servers[0], servers[1], case, f"case-{done}"):
            if not any(pattern.search(line) for pattern, _reason in KNOWN):
                often, first = found.get(kind_of(line), (0, f"{line}\n    {case.told()}"))
                found[kind_of(line)] = (often + 1, first)

    if seed is not None:
        from hypothesis import seed as seeded

        each = seeded(seed)(each)
    each()
    return done, found


def kind_of(line: str) -> str:
    """A difference without the values of its case, so that a thousand of one kind are one."""
    return re.sub(r'"[^"]*"|\d+', "*", line)[:300]
