"""Clusters for a user's own use, and the doctor, from the command line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.base import CanCutLink, CanPauseNode
from clusters.locate import locate
from clusters.netns import fitness, kept
from clusters.netns.fitness import Finding, State
from conformance import leftovers
from conformance.cli import cluster
from conformance.cli.main import main

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder of the test's own; whatever it kept is ended, also when it failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    for one in kept.listed()[0]:
        kept.end(one.name)


def _objects(name: str) -> set[str]:
    """Every object that a run could make, as kind/namespace/name."""
    from kubernetes import client, config

    config.load_kube_config(str(kept.find(name).kubeconfig))
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    lists = {
        "namespace": core.list_namespace(), "service": core.list_service_for_all_namespaces(),
        "pod": core.list_pod_for_all_namespaces(), "configmap": core.list_config_map_for_all_namespaces(),
        "deployment": apps.list_deployment_for_all_namespaces(),
    }
    return {f"{kind}/{item.metadata.namespace}/{item.metadata.name}"
            for kind, found in lists.items() for item in found.items}


@pytest.mark.kernel
@pytest.mark.slow  # runs of the judge, one of them killed
def test_what_a_killed_run_leaves_is_told_by_the_next_and_cleaned_up(
    capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["cluster", "up", "netns://2-nodes?seed", "--name", "mine"]) == 0
    before = _objects("mine")
    judge = [sys.executable, "-m", "conformance.cli.main", "run", "--cluster", "netns-kept://mine"]
    with subprocess.Popen([*judge, "CLUSTERIP-30", "SEED-05", "--out", "killed"]) as killed:
        _until(lambda: sum(name.startswith("pod/conf-") for name in _objects("mine")) >= 4)
        killed.kill()
    capfd.readouterr()
    assert main(["cleanup", "netns-kept://mine"]) == 0
    said = capfd.readouterr().out
    assert "lives: its objects stay" in said and "removing" not in said
    left = _objects("mine") - before
    monkeypatch.setattr(leftovers, "STALE", 0.0)
    assert main(["run", "--cluster", "netns-kept://mine", "API-01", "--out", "judged"]) == 0
    assert "objects of runs that were killed are still there" in capfd.readouterr().err
    assert main(["cleanup", "netns-kept://mine", "--dry-run"]) == 0
    assert "would remove Namespace conf-" in capfd.readouterr().out and left <= _objects("mine")
    assert main(["cleanup", "netns-kept://mine"]) == 0
    assert "removing Namespace conf-" in capfd.readouterr().out
    _until(lambda: _objects("mine") == before)
    assert main(["cleanup", "netns-kept://mine"]) == 0
    assert capfd.readouterr().out == "nothing was left\n"
    assert main(["cleanup", "netns://"]) == 3
    assert "such a cluster ends with its run" in capfd.readouterr().err


@pytest.mark.kernel
@pytest.mark.slow
def test_what_a_killed_run_broke_is_told_by_the_next_and_mended(capfd: Any) -> None:
    assert main(["cluster", "up", "netns://3-nodes?seed", "--name", "hurt"]) == 0

    async def hurt() -> None:
        cluster = await locate("netns-kept://hurt")
        assert isinstance(cluster, CanPauseNode) and isinstance(cluster, CanCutLink)
        await cluster.pause_node("k3s-worker-rpi002")
        await cluster.cut_link("k3s-worker-rpi003", silently=True)
        await cluster.close()

    asyncio.run(hurt())
    judge = ["run", "--cluster", "netns-kept://hurt", "API-01", "--out", "hurt"]
    assert main(judge) == 3
    assert "k3s-worker-rpi003 is cut off, k3s-worker-rpi002 is paused" in capfd.readouterr().err
    assert main(["cleanup", "netns-kept://hurt", "--dry-run"]) == 0
    assert "would mend k3s-worker-rpi002: paused" in capfd.readouterr().out
    assert main(["cleanup", "netns-kept://hurt"]) == 0
    assert "mending k3s-worker-rpi003: cut off" in capfd.readouterr().out
    assert main(judge) == 0


def _until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "that did not become true in time"
        time.sleep(0.05)


@pytest.mark.kernel
@pytest.mark.slow  # two runs of the judge, each with agents to start and to remove
def test_a_kept_cluster_is_raised_judged_twice_entered_and_ended(capfd: Any) -> None:
    assert main(["cluster", "up", "netns://2-nodes?seed", "--name", "mine"]) == 0
    said = capfd.readouterr().out
    found = kept.find("mine")
    assert "nodes: k3s-master-rpi001, k3s-worker-rpi002; Services by: reference-iptables" in said
    assert f"export KUBECONFIG={found.kubeconfig}" in said
    assert "service-conformance run --cluster netns-kept://mine" in said
    assert main(["cluster", "up", "--name", "mine"]) == 3
    assert f"'mine' is taken by process {found.keeper} since" in capfd.readouterr().err
    before = _objects("mine")
    for _ in range(2):
        assert main(["run", "--cluster", "netns-kept://mine", "SEED-05", "DNS-01", "--out", "judged"]) == 0
        header = json.loads(Path("judged/run/latest/evidence.jsonl").read_text().splitlines()[0])
        assert header["implementation"]["name"] == "reference-iptables"
        assert not list((Path(found.run_folder) / "placed").glob("*"))
        end = time.monotonic() + 20
        while left := _objects("mine") - before:  # pods end gracefully
            assert time.monotonic() < end, f"the run made this and did not remove it: {left}"
            time.sleep(0.05)
    capfd.readouterr()
    rules = ["cluster", "exec", "k3s-worker-rpi002", "--name", "mine", "--", "iptables-save", "-t", "nat"]
    assert main(rules) == 0
    assert "KUBE-SERVICES" in capfd.readouterr().out
    assert main(["cluster", "exec", "outside", "--name=mine", "-it", "--", "sh", "-c", "exit 5"]) == 5
    assert "no terminal here" in capfd.readouterr().err
    assert main(["cluster", "list"]) == 0
    rows = capfd.readouterr().out.splitlines()
    assert rows[1].split()[:3] == ["mine", "netns://2-nodes?seed", "2"]
    assert rows[1].split()[4:] == [str(found.keeper), "reference-iptables", str(found.kubeconfig)]
    assert main(["cluster", "down", "--all"]) == 0
    assert main(["cluster", "down", "mine"]) == 0
    assert main(["cluster", "list"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "cluster mine has ended", "cluster mine was not there; nothing to end",
        "no cluster stands; `service-conformance cluster up` raises one",
    ]


@pytest.mark.parametrize(("argv", "sentence"), [
    (["cluster", "exec", "node"], "write it after --"),
    (["cluster", "exec", "node", "--", "ls"], "no cluster 'default' is kept (there are: none)"),
    (["cluster", "up", "kind://x"], "only the embedded cluster can be raised"),
    (["cluster", "up", "--name", "../x"], "cannot be a cluster's name"),
    (["cluster", "down", "x", "--all"], "not both"),
    (["run", "--cluster", "netns-kept://x"], "no cluster 'x' is kept"),
])
def test_bad_input_is_status_3_and_one_sentence(argv: list[str], sentence: str, capsys: Any) -> None:
    assert main(argv) == 3
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["cluster"], ["cluster", "frob"], ["cluster", "exec", "--frob", "--", "x"]])
def test_bad_usage_is_status_3_too(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 3


@pytest.mark.parametrize(("seconds", "word"), [
    (0.4, "0s"), (119, "119s"), (120, "2m"), (10_799, "179m"), (10_800, "3h"), (172_800, "2d"), (-3, "0s"),
])
def test_ages_read_like_kubectls(seconds: float, word: str) -> None:
    assert cluster.age(seconds) == word


def test_only_the_first_two_dashes_divide() -> None:
    assert cluster.split(["node", "--name", "x", "--", "sh", "--", "y"]) == (
        ["node", "--name", "x"], ["sh", "--", "y"])


@pytest.mark.kernel
def test_the_doctor_finds_a_good_cluster_good_and_names_what_is_wrong_in_it(capsys: Any) -> None:
    from kubernetes import client, config

    assert main(["cluster", "up", "netns://1-node", "--implementation", "none"]) == 0
    assert main(["doctor", "netns-kept://default"]) == 0
    said = capsys.readouterr().out
    for line in ("ok    user namespaces", "ok    iptables statistic", "ok    iptables recent",
                 "ok    iptables REJECT", "ok    packet traces",
                 "ok    own /proc", "ok    nftables nat and maps", "ok    connection tracking",
                 "ok    refusals on k3s-master-rpi001", "ok    ServiceLB", "all is well"):
        assert line in said
    config.load_kube_config(str(kept.find("default").kubeconfig))
    client.CoreV1Api().create_namespaced_pod("kube-system", {
        "metadata": {"name": "svclb-traefik-x"}, "spec": {"containers": [{"name": "a", "image": "debian"}]}})
    bad = "echo 1 > /proc/sys/net/ipv4/conf/eth0/send_redirects; echo 500 > /proc/sys/net/ipv4/icmp_ratelimit"
    assert main(["cluster", "exec", "k3s-master-rpi001", "--", "sh", "-c", bad]) == 0
    assert main(["doctor", "netns-kept://default"]) == 3
    said = capsys.readouterr().out
    assert "its pods run: svclb-traefik-x" in said
    assert "start the k3s server with --disable servicelb" in said
    assert "conf/eth0/send_redirects=1, icmp_ratelimit=500" in said
    assert "2 wrong" in said
    assert kept.is_kept("default"), "it is left as it was"


@pytest.mark.kernel
def test_the_doctor_says_why_there_are_no_user_namespaces() -> None:
    doctor = f"{sys.executable} -m conformance.cli.main doctor"
    inside = f"echo 0 > /proc/sys/user/max_user_namespaces; exec {doctor}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "sh", "-c", inside],
        capture_output=True, text=True, timeout=20, check=False, env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert done.returncode == 3
    assert "wrong user namespaces" in done.stdout
    assert "next: user.max_user_namespaces is 0; sudo sysctl user.max_user_namespaces=15000" in done.stdout


def test_the_doctor_names_the_packages_that_are_missing(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(fitness.launch.shutil, "which", lambda tool, path: None if tool == "nft" else tool)
    monkeypatch.setattr(fitness, "_trials", lambda _root: [Finding("user namespaces", State.OK, "")])
    assert main(["doctor"]) == 3
    said = capsys.readouterr().out
    assert "wrong programs" in said
    assert "next: install with: sudo apt-get install nftables" in said
    assert "1 wrong" in said


def test_what_is_going_already_was_not_left() -> None:
    going = leftovers.Made("r1", "Namespace", "v1", "", "conf-r1-rig", going=True)
    stays = leftovers.Made("r2", "Namespace", "v1", "", "conf-r2-rig")
    assert leftovers.sentence([going], "kind://x") == ""
    assert leftovers.sentence([going, stays], "kind://x").startswith("1 objects of runs that were killed are")
