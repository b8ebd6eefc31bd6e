"""The embedded cluster's beginning and end: side by side, killed, interrupted, not permitted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clusters.base import ClusterError
from clusters.locate import locate
from clusters.netns.cluster import NetnsCluster
from clusters.netns.conversation import ask
from clusters.tests import host

pytestmark = pytest.mark.kernel
_ROOT = Path(__file__).resolve().parents[2]
_JUDGE = """
import asyncio, signal
from clusters.locate import locate
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may have it ignored
async def main():
    cluster = await locate("netns://2-nodes")
    try:
        print(cluster.run, cluster.machine_pid, flush=True)
        await asyncio.sleep(60)
    finally:
        await cluster.close()
asyncio.run(main())
"""


def _judge(**more: str) -> tuple[subprocess.Popen[str], str, int]:
    """A judge of its own in another process; gives it, its run and its machine's process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _JUDGE], stdout=subprocess.PIPE, text=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(_ROOT), **more},
    )
    assert process.stdout is not None
    run, pid = process.stdout.readline().split()
    assert len(host.of_run(run)) > 5
    return process, run, int(pid)


def _until_empty(run: str, seconds: float) -> float:
    began = time.monotonic()
    while host.of_run(run):
        assert time.monotonic() - began < seconds, f"still there: {host.of_run(run)}"
        time.sleep(0.01)
    return time.monotonic() - began


def test_nothing_is_left_when_the_judge_is_killed(tmp_path: Path) -> None:
    before = host.picture()
    process, run, _pid = _judge(XDG_RUNTIME_DIR=str(tmp_path))
    process.kill()
    process.wait()
    _until_empty(run, 2)
    assert host.picture() == before
    left = list(tmp_path.iterdir())
    assert len(left) == 1, "the folder of the killed run"
    process, run, _pid = _judge(XDG_RUNTIME_DIR=str(tmp_path))
    assert left[0] not in tmp_path.iterdir(), "the next start sweeps it"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.wait(5)
    assert time.monotonic() - began < 2, "Ctrl-C ends within two seconds"
    _until_empty(run, 0.5)
    assert list(tmp_path.iterdir()) == []
    assert host.picture() == before


def test_nothing_is_left_when_the_machine_is_killed() -> None:
    before = host.picture()
    process, run, pid = _judge()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 2
    while set(host.of_run(run)) - {process.pid}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.wait(5)
    assert host.picture() == before


async def test_another_api_server_by_name_and_one_that_is_not_there() -> None:
    cluster = await locate("netns://1-node?apiserver=clusters.miniatures.double_books:main")
    await cluster.close()
    with pytest.raises(ClusterError, match=r"cannot load clusters\.miniatures\.nothing:main: No module"):
        await locate("netns://1-node?apiserver=clusters.miniatures.nothing:main")


async def test_two_clusters_stand_side_by_side_and_know_nothing_of_each_other() -> None:
    one, two = await asyncio.gather(locate("netns://1-node"), locate("netns://2-nodes"))
    assert isinstance(one, NetnsCluster)
    assert isinstance(two, NetnsCluster)
    try:
        assert [len(await cluster.nodes()) for cluster in (one, two)] == [1, 2]
        assert one.kubeconfig != two.kubeconfig
        await one.run_on("outside", ["ip", "link", "add", "only-here", "type", "bridge"], timeout=5)
        status, _out, _error = await two.run_on("outside", ["ip", "link", "show", "only-here"], timeout=5)
        assert status != 0
        mode = one.kubeconfig.parent.stat().st_mode & 0o777
        assert mode == 0o700
    finally:
        await asyncio.gather(one.close(), two.close())
    assert host.of_run(one.run) == host.of_run(two.run) == []
    with pytest.raises(ClusterError, match="closed"):
        one.pod("default", "x", 1)


async def test_a_command_that_leaves_something_behind_and_unknown_questions() -> None:
    cluster = await locate("netns://1-node")
    assert isinstance(cluster, NetnsCluster)
    try:
        argv = ["sh", "-c", "echo so far; sleep 60 &"]
        status, output, _error = await cluster.run_on("k3s-master-rpi001", argv, timeout=1)
        assert (status, output) == (124, "so far\n"), "who still holds the outputs is waited for, in bounds"
        answer, _fd = await ask(cluster.kubeconfig.parent / "control", {"op": "hello"}, timeout=5)
        assert set(answer["hosts"]) >= {"control-plane", "k3s-master-rpi001", "outside", "router"}
        with pytest.raises(ClusterError, match="unknown question 'dance'"):
            await ask(cluster.kubeconfig.parent / "control", {"op": "dance"}, timeout=5)
    finally:
        await cluster.close()


def test_where_user_namespaces_are_switched_off_the_sentence_names_the_setting() -> None:
    inside = (
        "echo 0 > /proc/sys/user/max_user_namespaces; exec "
        f"{sys.executable} -c 'import asyncio; from clusters.locate import locate; "
        "asyncio.run(locate(\"netns://\"))'"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "sh", "-c", inside],
        capture_output=True, text=True, timeout=20, check=False,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert "user namespaces are not permitted here: user.max_user_namespaces is 0" in done.stderr


async def test_a_machine_that_hangs_is_killed_within_two_seconds() -> None:
    cluster = await locate("netns://1-node")
    assert isinstance(cluster, NetnsCluster)
    mine = [pid for pid in host.of_run(cluster.run) if pid != cluster.machine_pid]
    for pid in mine:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    await cluster.close()
    assert time.monotonic() - began < 2
    assert host.of_run(cluster.run) == []


async def test_a_start_that_is_cancelled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    starting = asyncio.create_task(locate("netns://"))
    while not (found := os.listdir(tmp_path)):  # noqa: PTH208
        assert not starting.done()
        await asyncio.sleep(0.001)
    run = found[0].rpartition("-")[2]
    await asyncio.sleep(0.05)  # somewhere in its middle
    assert not starting.done()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert host.of_run(run) == []
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_a_cluster_outlives_the_loop_and_the_thread_that_located_it() -> None:
    # The machine dies with the thread that forked it, so that thread must be one that stays.
    cluster = await asyncio.to_thread(lambda: asyncio.run(locate("netns://1-node")))
    assert isinstance(cluster, NetnsCluster)
    try:
        for _ in range(20):
            await asyncio.to_thread(time.sleep, 0.005)
        status, said, _error = await cluster.run_on("outside", ["hostname"], timeout=5)
        assert (status, said) == (0, "outside\n")
    finally:
        await cluster.close()
