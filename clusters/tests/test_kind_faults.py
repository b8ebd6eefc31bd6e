"""Faults on kind nodes, with a docker that only writes down what it is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.base import ClusterError
from clusters.kind import docker, faults
from clusters.tests.netns_pods import until

RUNS = {"Running": True, "Paused": False}
_DOCKER = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  inspect*) cat {state} ;;
  *"{refused}"*) echo "no such thing" >&2; exit 1 ;;
  *uptime*) cut -d' ' -f1 /proc/uptime ;;
  *"cut off"*) echo "{cut}" ;;
  kill*) sleep 0.3; echo killed >> {log} ;;
esac
"""
Told = Callable[[], list[str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    """Put a docker first on PATH; what is called gives the words it was told, a line a command."""

    def make(state: dict[str, bool], *, refused: str = "!nothing!", cut: str = "whole") -> Told:
        log, program = tmp_path / "log", tmp_path / "docker"
        (tmp_path / "state").write_text(json.dumps([{"State": state}]))
        program.write_text(_DOCKER.format(log=log, state=tmp_path / "state", refused=refused, cut=cut))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return lambda: log.read_text().splitlines()

    return make


async def test_the_instant_of_a_cut_is_the_nodes_own(told: Callable[..., Told]) -> None:
    said, began = told(RUNS), time.monotonic()
    at = await faults.power_off("worker")
    assert began - 0.01 <= at <= time.monotonic() - 0.25, "not when docker came back from the kill"
    assert said()[-2:] == ["kill worker", "killed"]
    assert any("nft -f -" in line for line in said())


async def test_power_is_taken_where_the_node_cannot_be_silenced_first(told: Callable[..., Told]) -> None:
    said, began = told(RUNS, refused="nft -f"), time.monotonic()
    assert await faults.power_off("worker") >= began + 0.3
    assert said()[-1] == "killed"


async def test_a_fault_that_is_cancelled_ends_before_what_undoes_it(told: Callable[..., Told]) -> None:
    said = told(RUNS)
    cutting = asyncio.create_task(docker.docker("kill", "worker"))
    await until(lambda: asyncio.sleep(0.01, said_so_far(said)))
    cutting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cutting
    assert said()[-1] == "killed"


def said_so_far(said: Told) -> list[str]:
    """The lines, none where there is no log yet."""
    try:
        return said()
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(
    ("state", "cut", "wrong"),
    [
        (RUNS, "whole", ""),
        (RUNS, "cut off", "cut off"),
        ({"Running": True, "Paused": True}, "whole", "paused"),
        ({"Running": False, "Paused": False}, "whole", "without power"),
    ],
)
async def test_what_is_wrong_with_a_node(
    told: Callable[..., Told], state: dict[str, bool], cut: str, wrong: str
) -> None:
    told(state, cut=cut)
    assert await faults.wrong("worker") == wrong


async def test_a_node_that_cannot_be_asked_is_not_called_whole(told: Callable[..., Told]) -> None:
    told(RUNS, refused="exec")
    with pytest.raises(ClusterError, match="no such thing"):
        await faults.wrong("worker")
    with pytest.raises(ClusterError, match="no such thing"):
        await faults.heal("worker")


async def test_mending_starts_thaws_and_heals_in_this_order(told: Callable[..., Told]) -> None:
    said = told({"Running": False, "Paused": True})
    await faults.mend("worker")
    acts = [line.split()[0] for line in said() if not line.startswith("inspect") and " " in line]
    assert [act for act in acts if act in ("start", "unpause", "exec")] == ["start", "unpause", "exec"]
