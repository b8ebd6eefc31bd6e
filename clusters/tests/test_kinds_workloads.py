"""Workloads in a real cluster, through the real kubectl: what it prints is held against Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from clusters.tests.kubectl_shell import Kubectl, cluster, events, rows, until

pytestmark = pytest.mark.kernel

SLEEPER = {"terminationGracePeriodSeconds": 0,
           "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "1000"]}]}


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with cluster("netns://3-nodes", tmp_path_factory.mktemp("kubectl")) as run:
        yield run


def workload(kind: str, name: str, **spec: object) -> str:
    """A workload of pods that do nothing, as JSON."""
    version = {"Job": "batch/v1", "ReplicationController": "v1"}.get(kind, "apps/v1")
    labels = {"app": name}
    selector = labels if kind == "ReplicationController" else {"matchLabels": labels}
    template = {"metadata": {"labels": labels}, "spec": SLEEPER}
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": name},
                       "spec": {"selector": selector, "template": template} | spec})


def pods(kubectl: Kubectl, name: str) -> list[str]:
    return sorted(kubectl("get", "pods", "-l", f"app={name}", "-o", "name").split())


def test_a_daemon_runs_once_on_every_node_and_follows_its_template(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=workload("DaemonSet", "d"))
    kubectl("rollout", "status", "ds/d", "--timeout=30s")
    head, line = rows(kubectl("get", "ds", "d"))
    assert head[:6] == ["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE"]
    assert head[6:] == ["NODE", "SELECTOR", "AGE"]
    assert line[:6] == ["d", "3", "3", "3", "3", "3"]
    assert [reason for reason, _ in until(lambda: events(kubectl, "DaemonSet", "d"), lambda e: len(e) == 3)] \
        == ["SuccessfulCreate"] * 3
    where = kubectl("get", "pods", "-l", "app=d", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert len(set(where)) == 3
    before = pods(kubectl, "d")
    kubectl("set", "env", "ds/d", "A=1")
    assert "successfully rolled out" in kubectl("rollout", "status", "ds/d", "--timeout=30s")
    assert not set(before) & set(pods(kubectl, "d"))
    assert [line[0] for line in rows(kubectl("rollout", "history", "ds/d"))[2:]] == ["1", "2"]
    kubectl("rollout", "undo", "ds/d")
    kubectl("rollout", "status", "ds/d", "--timeout=30s")
    assert [line[0] for line in rows(kubectl("rollout", "history", "ds/d"))[2:]] == ["2", "3"]
    assert kubectl("get", "ds", "d", "-o", "jsonpath={.spec.template.spec.containers[0].env}") == ""
    assert "deprecated.daemonset.template.generation: 3" in kubectl("describe", "ds", "d")


def test_daemons_and_others_follow_cordons_taints_and_drains(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=workload("DaemonSet", "t"))
    kubectl("apply", "-f", "-", stdin=workload("ReplicationController", "r", replicas=3))
    kubectl("rollout", "status", "ds/t", "--timeout=30s")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "rc/r", "--timeout=30s")
    node = "k3s-worker-rpi003"
    assert "evicting pod default/r-" in kubectl("drain", node, "--ignore-daemonsets", "--force", status=0)
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    until(lambda: kubectl("describe", "node", node),
          lambda text: "node.kubernetes.io/unschedulable:NoSchedule" in text)
    left = kubectl("get", "pods", "--field-selector", f"spec.nodeName={node}", "-o", "name").split()
    assert [pod for pod in left if pod.startswith("pod/t-")]
    assert not [pod for pod in left if pod.startswith("pod/r-")]
    kubectl("uncordon", node)
    until(lambda: kubectl("describe", "node", node), lambda text: "Taints:             <none>" in text)
    kubectl("taint", "nodes", node, "dedicated=x:NoExecute")
    until(lambda: kubectl("get", "pods", "--field-selector", f"spec.nodeName={node}", "-o", "name"),
          lambda text: not text)
    assert rows(kubectl("get", "ds", "t"))[1][1] == "2"
    kubectl("taint", "nodes", node, "dedicated-")
    kubectl("wait", "--for=jsonpath={.status.numberReady}=3", "ds/t", "--timeout=30s")
    told = kubectl("get", "events", "-o", "jsonpath={.items[?(@.reason=='TaintManagerEviction')].message}")
    assert "Marking for deletion Pod default/t-" in told


def test_a_stateful_set_keeps_names_and_order(kubectl: Kubectl) -> None:
    kubectl("create", "service", "clusterip", "s", "--clusterip=None")
    kubectl("apply", "-f", "-", stdin=workload("StatefulSet", "s", replicas=3, serviceName="s"))
    assert "partitioned roll out complete" in kubectl("rollout", "status", "sts/s", "--timeout=30s")
    assert pods(kubectl, "s") == ["pod/s-0", "pod/s-1", "pod/s-2"]
    assert until(lambda: events(kubectl, "StatefulSet", "s"), lambda e: len(e) == 3) == [
        ("SuccessfulCreate", f"Create Pod s-{number} in StatefulSet s successful") for number in range(3)]
    assert rows(kubectl("get", "sts", "s"))[1][:2] == ["s", "3/3"]
    named = kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=s",
                    "-o", "jsonpath={.items[*].endpoints[*].hostname}").split()
    assert sorted(named) == ["s-0", "s-1", "s-2"]
    partition = '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}'
    kubectl("patch", "sts", "s", "-p", partition)
    uids = kubectl("get", "pods", "-l", "app=s", "-o", "jsonpath={.items[*].metadata.uid}").split()
    kubectl("set", "env", "sts/s", "A=1")
    kubectl("rollout", "status", "sts/s", "--timeout=30s")
    now = kubectl("get", "pods", "-l", "app=s", "-o", "jsonpath={.items[*].metadata.uid}").split()
    assert now[:2] == uids[:2] and now[2] != uids[2]
    kubectl("scale", "sts", "s", "--replicas=1")
    kubectl("wait", "--for=delete", "pod/s-1", "pod/s-2", "--timeout=30s")
    deleted = [words for reason, words in events(kubectl, "StatefulSet", "s") if reason == "SuccessfulDelete"]
    assert deleted[-2:] == [f"Delete Pod s-{number} in StatefulSet s successful" for number in (2, 1)]
    assert [line[0] for line in rows(kubectl("rollout", "history", "sts/s"))[2:]] == ["1", "2"]


def test_a_deployment_rolls_pauses_goes_back_and_says_so(kubectl: Kubectl) -> None:
    spec = {"replicas": 2, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
    kubectl("apply", "-f", "-", stdin=workload("Deployment", "web", **spec))
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    first = kubectl("get", "rs", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    told = until(lambda: events(kubectl, "Deployment", "web"), bool)
    assert told == [("ScalingReplicaSet", f"Scaled up replica set {first} from 0 to 2")]
    kubectl("rollout", "pause", "deploy/web")
    kubectl("set", "image", "deploy/web", "c=busybox:2")
    paused = until(lambda: kubectl("describe", "deploy", "web"), lambda text: "DeploymentPaused" in text)
    assert "Progressing    Unknown  DeploymentPaused" in paused
    kubectl("annotate", "deploy/web", "kubernetes.io/change-cause=second image")
    kubectl("rollout", "resume", "deploy/web")
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    history = rows(kubectl("rollout", "history", "deploy/web"))
    assert history[2:] == [["1", "<none>"], ["2", "second", "image"]]
    kubectl("rollout", "undo", "deploy/web")
    kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "busybox"
    note = r"jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision-history}"
    assert kubectl("get", "rs", first, "-o", note) == "1"
    said = [words for _, words in events(kubectl, "Deployment", "web")]
    assert f"Scaled down replica set {first} from 1 to 0" in said
    assert f"Scaled up replica set {first} from 0 to 1" in said


def test_what_is_orphaned_stays_and_is_taken_in_again(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=workload("Deployment", "o", replicas=1))
    kubectl("rollout", "status", "deploy/o", "--timeout=30s")
    pod = pods(kubectl, "o")
    kubectl("delete", "deploy", "o", "--cascade=orphan")
    held = kubectl("get", "rs", "-l", "app=o", "-o", "jsonpath={.items[0].metadata.ownerReferences}")
    assert held == "" and pods(kubectl, "o") == pod
    kubectl("apply", "-f", "-", stdin=workload("Deployment", "o", replicas=1))
    kubectl("rollout", "status", "deploy/o", "--timeout=30s")
    assert pods(kubectl, "o") == pod
    kubectl("label", pod[0], "app=taken", "--overwrite")
    fresh = until(lambda: pods(kubectl, "o"), lambda found: len(found) == 1)
    assert fresh != pod
    assert kubectl("get", pod[0], "-o", "jsonpath={.metadata.ownerReferences}") == ""
    kubectl("delete", "deploy", "o", "--cascade=foreground")
    assert pods(kubectl, "o") == []
    kubectl("delete", pod[0])


def test_an_autoscaler_keeps_its_bounds_and_says_what_it_cannot_measure(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=workload("Deployment", "h", replicas=1))
    kubectl("autoscale", "deployment", "h", "--min=2", "--max=3", "--cpu-percent=80")
    kubectl("wait", "--for=jsonpath={.spec.replicas}=2", "deploy/h", "--timeout=30s")
    line = until(lambda: kubectl("get", "hpa", "h", "--no-headers").split(), lambda words: words[-2] == "2")
    assert line[:-1] == ["h", "Deployment/h", "cpu:", "<unknown>/80%", "2", "3", "2"]
    told = until(lambda: events(kubectl, "HorizontalPodAutoscaler", "h"), lambda e: len(e) > 1)
    assert told[0] == ("SuccessfulRescale",
                       "New size: 2; reason: Current number of replicas below Spec.MinReplicas")
    assert "targetCPUUtilizationPercentage" in kubectl(
        "get", "--raw", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/h")


def test_a_budget_stops_an_eviction(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=workload("ReplicationController", "b", replicas=1))
    kubectl("create", "pdb", "b", "--selector=app=b", "--min-available=1")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=1", "rc/b", "--timeout=30s")
    kubectl("wait", "--for=jsonpath={.status.currentHealthy}=1", "pdb/b", "--timeout=30s")
    assert rows(kubectl("get", "pdb", "b"))[1][:4] == ["b", "1", "N/A", "0"]
    name = kubectl("get", "pods", "-l", "app=b", "-o", "jsonpath={.items[0].metadata.name}")
    asked = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
    words = ("create", "--raw", f"/api/v1/namespaces/default/pods/{name}/eviction", "-f", "-")
    told = kubectl(*words, stdin=asked, status=1)
    assert "Cannot evict pod as it would violate the pod's disruption budget." in told
    kubectl("patch", "pdb", "b", "--type=merge", "-p", '{"spec":{"minAvailable":0}}')
    kubectl("wait", "--for=jsonpath={.status.disruptionsAllowed}=1", "pdb/b", "--timeout=30s")
    kubectl(*words, stdin=asked)
    kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=30s")
