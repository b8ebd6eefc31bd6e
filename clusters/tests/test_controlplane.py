"""A real control plane: what is asked of its programs, who may do what, and it standing.

The programs are those of ``ci/peers/build``; without them these tests fail with the sentence a user gets.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters import binaries, controlplane, manifests
from clusters.base import ClusterError, Command, Implementation
from clusters.client import ApiError, Client
from clusters.locate import locate
from clusters.netns import plan
from clusters.netns.cluster import NetnsCluster
from clusters.tests.netns_pods import PODS, ready_pod, until, web_map, web_pod

URL = "netns://2-nodes?control-plane=real&node-grace=4"
WORKER = "k3s-worker-rpi002"


def test_a_missing_program_is_named_with_the_way_to_have_it(tmp_path: Path) -> None:
    (tmp_path / "etcd").write_text("")
    with pytest.raises(ClusterError, match=r"etcd, nonsense are not .*ci/peers/build etcd nonsense"):
        binaries.find(["etcd", "nonsense"], str(tmp_path))
    (tmp_path / "etcd").chmod(0o755)
    assert binaries.find(["etcd"], str(tmp_path)) == {"etcd": str(tmp_path / "etcd")}


def test_a_named_folder_comes_first_then_the_environment_then_what_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("named", "assets", "peers/bin"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("SC_PEERS", str(tmp_path / "peers"))
    found = binaries.search_path(str(tmp_path / "named")).split(":")
    assert found[:3] == [str(tmp_path / name) for name in ("named", "assets", "peers/bin")]
    with pytest.raises(ClusterError, match="bin-dir /no/where: no such folder"):
        binaries.search_path("/no/where")


def test_every_token_has_its_user_and_only_the_administrator_and_strangers_may_do_everything() -> None:
    names = (*controlplane.USERS, "implementation-0")
    rows = list(csv.reader(io.StringIO(controlplane.token_table({name: f"t-{name}" for name in names}))))
    groups = {row[2]: row[3].split(",") for row in rows}
    assert [row[0] for row in rows] == [f"t-{name}" for name in names]
    masters = [name for name in names if "system:masters" in groups[name]]
    assert masters == ["kubernetes-admin", "implementation-0"]
    users = {row[1] for row in rows}
    bound = {item["subjects"][0]["name"] for _path, item in controlplane.access() if "subjects" in item}
    assert bound < users


@pytest.mark.parametrize(("options", "why"), [
    ("control-plane=mine", "write control-plane=real"),
    ("control-plane=real&seed", "seed and control-plane=real: the post's addresses"),
    ("control-plane=real&servicelb", "ServiceLB's imitation"),
    ("control-plane=real&apiserver=a.b:c", "the API server is kube-apiserver then"),
])
def test_what_a_real_control_plane_cannot_be_asked_for(options: str, why: str) -> None:
    with pytest.raises(ClusterError, match=why):
        plan.parse(f"netns://?{options}")


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.kernel
def test_a_program_that_dies_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    for name in controlplane.PROGRAMS:
        program(tmp_path, name, "exec sleep 600")
    program(tmp_path, "kube-apiserver", "for n in $(seq 30); do echo line $n; done; exit 7")
    with pytest.raises(ClusterError, match=r"the API server ended with status 7 .*: line 30") as caught:
        asyncio.run(locate(f"netns://1-nodes?control-plane=real&bin-dir={tmp_path}"))
    assert caught.value.log == tuple(f"line {n}" for n in range(11, 31))


@pytest.mark.kernel
def test_a_file_that_is_no_program_is_told_apart_from_a_missing_one(tmp_path: Path) -> None:
    for name in controlplane.PROGRAMS:
        program(tmp_path, name, "exec sleep 600")
    (tmp_path / "etcd").write_bytes(b"\x7fELF but not really")
    with pytest.raises(ClusterError, match=r"etcd ended with status [0-9]+ before .*Exec format"):
        asyncio.run(locate(f"netns://1-nodes?control-plane=real&bin-dir={tmp_path}"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[NetnsCluster]:
    made = asyncio.run(locate(URL))
    assert isinstance(made, NetnsCluster)
    yield made
    asyncio.run(made.close())


@pytest.mark.kernel
async def test_pods_of_a_deployment_run_and_are_served_by_slices(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        assert (await client.get("/version"))["gitVersion"] == "v1.36.3"
        await client.create("/api/v1/namespaces/default/configmaps", web_map())
        pod = web_pod("web", WORKER)
        labels = {"app": "web"}
        del pod["spec"]["nodeName"]
        await client.create("/apis/apps/v1/namespaces/default/deployments", {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": pod["spec"]}}})
        await client.create("/api/v1/namespaces/default/services", {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": [{"port": 80}]}})

        async def served() -> bool:
            slices = await client.list("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                                       label="kubernetes.io/service-name=web")
            endpoints = [one for held in slices for one in held.get("endpoints") or ()]
            return sum(one["conditions"]["ready"] for one in endpoints) == 2

        await until(served)


@pytest.mark.kernel
async def test_a_node_whose_power_is_cut_is_given_up_and_taken_back(cluster: NetnsCluster) -> None:
    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        async def condition() -> str:
            node = await client.get(f"/api/v1/nodes/{WORKER}")
            return str(next(one["status"] for one in node["status"]["conditions"] if one["type"] == "Ready"))

        async def unknown() -> bool:
            return await condition() == "Unknown"

        async def ready() -> bool:
            return await condition() == "True"

        await cluster.kill_node(WORKER)
        await until(unknown)
        await cluster.revive_node(WORKER)
        await until(ready)


RIGHTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [services], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
"""


@pytest.mark.kernel
async def test_an_implementation_has_the_rights_of_its_account_and_no_more(
    cluster: NetnsCluster, tmp_path: Path,
) -> None:
    (tmp_path / "rights.yaml").write_text(RIGHTS)
    copy = Command("copy", argv=("sh", "-c", "cp $0 /run/copy; exec sleep 600", "{kubeconfig}"),
                   account="default/reader")
    await cluster.provide(Implementation(
        "reader", "1", controllers=(copy,), objects=tuple(manifests.read(tmp_path / "rights.yaml"))))

    async def copied() -> bool:
        status, _out, _error = await cluster.run_on("control-plane", ["test", "-s", "/run/copy"], timeout=5)
        return status == 0

    await until(copied)
    _status, text, _error = await cluster.run_on("control-plane", ["cat", "/run/copy"], timeout=5)
    # The same credentials from outside: only the address of the API server differs.
    inside = "https://192.168.2.2:6443"
    outside = Client.from_kubeconfig(cluster.kubeconfig).server
    (tmp_path / "config").write_text(text.replace(inside, outside))
    async with Client.from_kubeconfig(tmp_path / "config") as client:
        assert await client.list("/api/v1/services")
        with pytest.raises(ApiError, match="cannot list resource \"pods\"") as refused:
            await client.list("/api/v1/pods")
    assert refused.value.status == 403


@pytest.mark.kernel
async def test_logs_exec_and_port_forward_go_through_the_kubelets_port(
    cluster: NetnsCluster, tmp_path: Path,
) -> None:
    kubectl = binaries.find(["kubectl"], binaries.search_path())["kubectl"]

    async def ran(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            kubectl, f"--kubeconfig={cluster.kubeconfig}", f"--cache-dir={tmp_path}", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, error = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, error.decode()
        return out.decode()

    async with Client.from_kubeconfig(cluster.kubeconfig) as client:
        command = ["sh", "-c", "echo hello there; exec sleep 600"]
        container = {"name": "c", "image": "busybox", "command": command}
        await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talks"},
                                   "spec": {"nodeName": WORKER, "containers": [container]}})
        await ready_pod(client, "talks")
    assert await ran("logs", "talks") == "hello there\n"
    assert await ran("exec", "talks", "--", "sh", "-c", "echo $((6 * 7)); hostname") == "42\ntalks\n"
    _status, refused, _error = await cluster.run_on(
        "outside", ["curl", "-sk", "https://192.168.2.115:10250/containerLogs/default/talks/c"], timeout=10)
    assert refused == "Forbidden"
