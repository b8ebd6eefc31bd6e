"""SIGKILL to each part of a cluster in turn: what ends with it, what comes back, and the host as before."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clusters.base import ClusterError
from clusters.client import Client
from clusters.netns.conversation import ask
from clusters.tests import host

pytestmark = pytest.mark.kernel
NODE = "k3s-master-rpi001"
_JUDGE = """
import asyncio, signal
from clusters.locate import locate
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may have it ignored
async def main():
    cluster = await locate("netns://1-node")
    try:
        print(cluster.run, cluster.machine_pid, cluster.kubeconfig, flush=True)
        await asyncio.sleep(300)
    finally:
        await cluster.close()
asyncio.run(main())
"""


@dataclass
class Judge:
    """A judge in a process of its own, with its cluster."""

    process: subprocess.Popen[str]
    run: str
    machine: int
    kubeconfig: Path

    @classmethod
    def begin(cls, folder: Path) -> Judge:
        process = subprocess.Popen([sys.executable, "-c", _JUDGE], stdout=subprocess.PIPE, text=True, cwd="/",
                                   env=host.environment(XDG_RUNTIME_DIR=str(folder)))
        assert process.stdout is not None
        run, machine, kubeconfig = process.stdout.readline().split()
        return cls(process, run, int(machine), Path(kubeconfig))

    def pids(self, is_it: Callable[[int], bool]) -> list[int]:
        return [pid for pid in host.of_run(self.run) if is_it(pid)]

    def named(self, name: str) -> list[int]:
        return self.pids(lambda pid: host.called(pid) == name)

    def question(self, **asked: Any) -> Any:
        return asyncio.run(ask(self.kubeconfig.parent / "control", asked, timeout=20))[0]

    def nodes(self) -> int:
        async def listed() -> int:
            async with Client.from_kubeconfig(self.kubeconfig) as client:
                return len(await client.list("/api/v1/nodes"))

        return asyncio.run(listed())

    def ready(self, name: str) -> bool:
        """Whether a pod of that label is ready, in kube-system."""
        async def look() -> bool:
            async with Client.from_kubeconfig(self.kubeconfig) as client:
                pods = await client.list("/api/v1/namespaces/kube-system/pods", label=f"k8s-app={name}")
                return any(one["type"] == "Ready" and one["status"] == "True" for pod in pods
                           for one in pod.get("status", {}).get("conditions", ()))

        return asyncio.run(look())

    def end(self) -> None:
        """Ctrl-C, and its end."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """Another cluster, which must not notice anything."""
    made = Judge.begin(tmp_path_factory.mktemp("beside"))
    host.until(lambda: made.ready("kube-dns"), 20, "its DNS is ready")
    before = set(host.of_run(made.run))
    yield made
    assert before == set(host.of_run(made.run)), "every process of the cluster beside is the one it was"
    assert made.nodes() == 1
    made.end()
    assert host.of_run(made.run) == []


@pytest.fixture
def judge(tmp_path: Path, beside: Judge) -> Iterator[Judge]:
    """A cluster to break. However it was broken, it ends, and leaves the host as it was."""
    before = host.picture()
    made = Judge.begin(tmp_path)
    yield made
    made.end()
    host.until(lambda: not host.of_run(made.run), 10, "nothing of it runs any more")
    assert list(tmp_path.iterdir()) == []
    assert host.picture() == before


def killed(judge: Judge, found: list[int]) -> None:
    """SIGKILL to the one process found, and its end."""
    (pid,) = found
    os.kill(pid, signal.SIGKILL)
    host.until(lambda: pid not in host.of_run(judge.run), 10, f"process {pid} is gone")


@pytest.mark.parametrize("name", ["http", "main"], ids=["the API server", "the controllers"])
def test_the_clusters_own_programs_come_back(judge: Judge, name: str) -> None:
    for _ in range(2):
        killed(judge, judge.named(name))
        host.until(lambda: len(judge.named(name)) == 1, 20, f"{name} was started again")
        assert judge.nodes() == 1
    assert judge.question(op="dead")["dead"] == []
    log = (judge.kubeconfig.parent / "machine.log").read_text()
    assert log.count("ended with status -9; started again") == 2


def test_dns_comes_back_as_a_pod_does(judge: Judge) -> None:
    host.until(lambda: judge.ready("kube-dns"), 20, "DNS is ready")
    killed(judge, judge.named("server"))
    host.until(lambda: len(judge.named("server")) == 1, 20, "the kubelet started it again")
    host.until(lambda: judge.ready("kube-dns"), 20, "DNS is ready again")


def test_without_the_zygote_all_goes_on_but_no_node_can_be_revived(judge: Judge) -> None:
    killed(judge, judge.pids(lambda pid: host.inner_number(pid) == 2))
    killed(judge, judge.named("http"))
    host.until(lambda: judge.nodes() == 1, 10, "its inits go on without it")
    judge.question(op="kill", node=NODE)
    with pytest.raises(ClusterError, match="the process that hosts are forked from has ended"):
        judge.question(op="revive", node=NODE)


def test_an_init_takes_its_host_with_it_and_the_judge_is_told(judge: Judge) -> None:
    host.until(lambda: judge.ready("kube-dns"), 20, "DNS is ready")
    killed(judge, judge.named("init k3s-master"))
    host.until(lambda: judge.question(op="dead")["dead"] == [
        f"the init of {NODE} ended by itself, and everything on that host with it"], 5, "it is told")
    host.until(lambda: judge.named("server") == [], 5, "what ran on the host has ended")
    judge.question(op="kill", node=NODE)
    judge.question(op="revive", node=NODE)
    host.until(lambda: judge.ready("kube-dns"), 30, "with power again its pods are there again")
    assert judge.question(op="dead")["dead"] == []


def test_without_the_machine_nothing_is_left(judge: Judge) -> None:
    killed(judge, judge.pids(lambda pid: host.inner_number(pid) == 1))
    host.until(lambda: set(host.of_run(judge.run)) <= {judge.process.pid}, 5, "the kernel ended all of it")
