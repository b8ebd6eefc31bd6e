"""The lives of pods as kubectl shows them: probes, restarts, init containers, hooks, last words, events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from clusters.locate import locate
from clusters.netns.cluster import NetnsCluster
from clusters.tests.kubectl_terminal import Kubectl

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    cluster = asyncio.run(locate("netns://2-nodes"))
    assert isinstance(cluster, NetnsCluster)
    yield Kubectl(cluster.kubeconfig, tmp_path_factory.mktemp("home"))
    asyncio.run(cluster.close())


def pod(name: str, *script: str, **spec: Any) -> dict[str, Any]:
    """A pod of one container that runs a shell script; ``spec`` are fields of the pod, ``main`` of that."""
    command = ["sh", "-c", "\n".join(script)]
    main = {"name": "main", "image": "debian", "command": command, **spec.pop("main", {})}
    meta = {"name": name, "labels": {"app": name}}
    base = {"terminationGracePeriodSeconds": 0, "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": base | spec}


def apply(kubectl: Kubectl, *items: dict[str, Any]) -> None:
    for item in items:
        kubectl("apply", "-f", "-", stdin=json.dumps(item))


def status(kubectl: Kubectl, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", "pod", name, "-o", "json"))["status"]
    return found


def until(kubectl: Kubectl, name: str, path: str, value: str) -> dict[str, Any]:
    """Wait until a field of a pod's status has a value; gives the status."""
    kubectl("wait", f"--for=jsonpath={{.status{path}}}={value}", f"pod/{name}", "--timeout=50s")
    return status(kubectl, name)


def events(kubectl: Kubectl, name: str, *wanted: str) -> dict[str, dict[str, Any]]:
    """The events of a pod by their reason, once those wanted are there: they come in the background."""
    end, about = time.monotonic() + 30, f"--field-selector=involvedObject.name={name}"
    while True:
        listed = kubectl("get", "events", about, "-o", "json")
        found = {item["reason"]: item for item in json.loads(listed)["items"]}
        if set(wanted) <= set(found):
            return found
        assert time.monotonic() < end, f"{wanted}: only {sorted(found)} came"


MAIN = ".containerStatuses[0]"


def test_a_failing_liveness_probe_restarts_the_container(kubectl: Kubectl) -> None:
    probe = {"exec": {"command": ["test", "!", "-e", "/tmp/sick"]}, "periodSeconds": 1, "failureThreshold": 1}
    apply(kubectl, pod("sick", "trap 'exit 9' TERM", "touch /tmp/sick", "while :; do sleep 0.05; done",
                       main={"livenessProbe": probe}, terminationGracePeriodSeconds=20))
    found = until(kubectl, "sick", f"{MAIN}.restartCount", "1")
    assert found["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 9
    seen = events(kubectl, "sick", "Unhealthy", "Killing", "Started")
    assert seen["Unhealthy"]["message"] == "Liveness probe failed: exit status 1"
    assert seen["Killing"]["message"] == "Container main failed liveness probe, will be restarted"
    about = seen["Started"]["involvedObject"]
    assert about["fieldPath"] == "spec.containers{main}" and seen["Started"]["source"]["host"]
    kubectl("delete", "pod", "sick", "--grace-period=0", "--force")


def test_a_startup_probe_holds_back_the_others(kubectl: Kubectl) -> None:
    up = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 100}
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    apply(kubectl, pod("slow", "sleep 1000", main={"startupProbe": up, "livenessProbe": never}))
    found = until(kubectl, "slow", ".phase", "Running")
    one = found["containerStatuses"][0]
    assert (one["started"], one["ready"]) == (False, False)
    kubectl("exec", "slow", "--", "touch", "/tmp/up")
    until(kubectl, "slow", f"{MAIN}.restartCount", "1")  # now the liveness probe is asked


def test_a_crash_loop_waits_and_says_so(kubectl: Kubectl) -> None:
    apply(kubectl, pod("loop", "echo why > /dev/termination-log", "exit 3"))
    found = until(kubectl, "loop", f"{MAIN}.state.waiting.reason", "CrashLoopBackOff")
    uid = json.loads(kubectl("get", "pod", "loop", "-o", "json"))["metadata"]["uid"]
    one = found["containerStatuses"][0]
    who = f"loop_default({uid})"
    assert one["state"]["waiting"]["message"] == f"back-off 10s restarting failed container=main pod={who}"
    last = one["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (3, "Error", "why\n")
    assert events(kubectl, "loop", "BackOff")["BackOff"]["message"] == (
        f"Back-off restarting failed container main in pod {who}")
    assert "CrashLoopBackOff" in kubectl("get", "pod", "loop")


def test_init_containers_run_in_order_and_share_volumes(kubectl: Kubectl) -> None:
    mounts = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    step = {"image": "debian", **mounts}
    script = "while [ ! -e /work/go ]; do sleep 0.05; done; echo one > /work/log"
    apply(kubectl, pod(
        "staged", "cat /work/log", "exec sleep 1000", main=mounts, volumes=[{"name": "work", "emptyDir": {}}],
        initContainers=[
            {"name": "first", "command": ["sh", "-c", script], **step},
            {"name": "second", "command": ["sh", "-c", "echo two >> /work/log"], **step},
            {"name": "side", "command": ["sleep", "1000"], "restartPolicy": "Always", **step},
        ]))
    found = until(kubectl, "staged", ".initContainerStatuses[0].started", "true")
    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert "Init:0/3" in kubectl("get", "pod", "staged")
    kubectl("exec", "staged", "-c", "first", "--", "touch", "/work/go")
    kubectl("wait", "--for=condition=Ready", "pod/staged", "--timeout=30s")
    assert kubectl("logs", "staged", "-c", "main") == "one\ntwo\n"
    assert [one["ready"] for one in status(kubectl, "staged")["initContainerStatuses"]] == [True, True, True]


def test_a_pod_whose_init_container_fails_for_good_has_failed(kubectl: Kubectl) -> None:
    first = {"name": "first", "image": "debian", "command": ["sh", "-c", "echo no; exit 4"],
             "terminationMessagePolicy": "FallbackToLogsOnError"}
    apply(kubectl, pod("never", "true", restartPolicy="Never", initContainers=[first]))
    found = until(kubectl, "never", ".phase", "Failed")
    ended = found["initContainerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (4, "no\n")
    assert "Init:Error" in kubectl("get", "pod", "never")


def test_sidecars_end_with_the_pods_work(kubectl: Kubectl) -> None:
    side = {"name": "side", "image": "debian", "command": ["sleep", "1000"], "restartPolicy": "Always"}
    apply(kubectl, pod("job", "true", restartPolicy="Never", initContainers=[side]))
    until(kubectl, "job", ".phase", "Succeeded")
    until(kubectl, "job", ".initContainerStatuses[0].state.terminated.exitCode", "137")


def test_a_deleted_pod_runs_its_hook_serves_and_leaves_the_ready_endpoints(kubectl: Kubectl) -> None:
    wait = "while [ ! -e /tmp/go ]; do sleep 0.05; done; touch /tmp/hooked"
    hook = {"exec": {"command": ["sh", "-c", wait]}}
    script = ["trap 'test -e /tmp/hooked && exit 0; exit 8' TERM", "while :; do sleep 0.05; done"]
    apply(kubectl, pod("leaver", *script, terminationGracePeriodSeconds=30,
                       main={"lifecycle": {"preStop": hook}, "ports": [{"containerPort": 80}]}))
    kubectl("wait", "--for=condition=Ready", "pod/leaver", "--timeout=30s")
    kubectl("expose", "pod", "leaver")
    slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=leaver", "-o", "json"]

    def conditions() -> dict[str, bool]:
        ends = [end for item in json.loads(kubectl(*slices))["items"] for end in item.get("endpoints") or ()]
        return ends[0]["conditions"] if ends else {}

    def reach(wanted: dict[str, bool]) -> None:
        end = time.monotonic() + 30
        while conditions() != wanted:
            assert time.monotonic() < end, conditions()

    reach({"ready": True, "serving": True, "terminating": False})
    kubectl("delete", "pod", "leaver", "--wait=false")
    reach({"ready": False, "serving": True, "terminating": True})
    shown = "jsonpath={.status.phase}:{.status.containerStatuses[0].state.terminated.exitCode} "
    with kubectl.beside("get", "pod", "leaver", "--watch", "-o", shown) as seen:
        seen.until("Running: ")
        kubectl("exec", "leaver", "--", "touch", "/tmp/go")
        seen.until("Running:0")
    kubectl("wait", "--for=delete", "pod/leaver", "--timeout=30s")
    reach({})
    assert events(kubectl, "leaver", "Killing")["Killing"]["message"] == "Stopping container main"


def test_readiness_is_asked_over_http_with_the_reason_told(kubectl: Kubectl) -> None:
    probe = {"httpGet": {"path": "/status.php", "port": 81}, "periodSeconds": 1}
    apply(kubectl, pod("deaf", main={"image": "nextcloud", "command": None, "readinessProbe": probe}))
    found = until(kubectl, "deaf", ".phase", "Running")
    address = found["podIP"]
    assert events(kubectl, "deaf", "Unhealthy")["Unhealthy"]["message"] == (
        f'Readiness probe failed: Get "http://{address}:81/status.php": dial tcp {address}:81: connect: '
        "connection refused")


def test_a_pod_that_is_active_too_long_fails(kubectl: Kubectl) -> None:
    apply(kubectl, pod("late", "exec sleep 1000", activeDeadlineSeconds=1))
    found = until(kubectl, "late", ".phase", "Failed")
    assert (found["reason"], found["message"]) == (
        "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
    assert found["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_a_deletion_by_force_ends_one_that_would_have_waited(kubectl: Kubectl) -> None:
    node = kubectl("get", "nodes", "-o", "name").split()[0].removeprefix("node/")
    apply(kubectl, pod("watcher", "exec sleep 1000", nodeName=node),
          pod("stubborn", "trap '' TERM", "while :; do sleep 0.1; done # stubborn one",
              terminationGracePeriodSeconds=1000, nodeName=node))
    kubectl("wait", "--for=condition=Ready", "pod/watcher", "pod/stubborn", "--timeout=30s")
    look = ["exec", "watcher", "--", "pgrep", "-f", "stubborn on[e]"]
    assert kubectl(*look)
    kubectl("delete", "pod", "stubborn", "--wait=false")
    assert events(kubectl, "stubborn", "Killing")
    kubectl("delete", "pod", "stubborn", "--grace-period=0", "--force")
    kubectl("exec", "watcher", "--", "sh", "-c", "while pgrep -f 'stubborn on[e]'; do sleep 0.05; done")
