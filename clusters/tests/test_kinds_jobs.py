"""Jobs, CronJobs, namespaces and their ends in a real cluster, through the real kubectl."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from clusters.tests.kubectl_shell import Kubectl, cluster, events, rows, until

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with cluster("netns://2-nodes", tmp_path_factory.mktemp("kubectl")) as run:
        yield run


def job(name: str, *command: str, policy: str = "Never", **spec: object) -> str:
    container = {"name": "c", "image": "busybox", "command": command}
    inner = {"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
                       "spec": {"template": {"spec": inner}} | spec})


def conditions(kubectl: Kubectl, what: str) -> dict[str, str]:
    found = json.loads(kubectl("get", what, "-o", "json"))["status"].get("conditions", [])
    return {c["type"]: c.get("reason", "") for c in found if c["status"] == "True"}


def test_a_job_runs_its_pods_and_counts_each_once(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=job("three", "true", completions=3, parallelism=2))
    kubectl("wait", "--for=condition=complete", "job/three", "--timeout=30s")
    head, line = rows(kubectl("get", "job", "three"))
    assert head == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"] and line[1:3] == ["Complete", "3/3"]
    pods = json.loads(kubectl("get", "pods", "-l", "job-name=three", "-o", "json"))["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"] * 3
    assert not any(pod["metadata"].get("finalizers") for pod in pods)
    told = until(lambda: events(kubectl, "Job", "three"), lambda e: len(e) == 4)
    assert [reason for reason, _ in told] == ["SuccessfulCreate"] * 3 + ["Completed"]
    assert conditions(kubectl, "job/three") == {
        "SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    kubectl("delete", "job", "three")
    assert kubectl("get", "pods", "-l", "job-name=three", "-o", "name") == ""


def test_jobs_that_fail_say_why(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=job("bad", "false", backoffLimit=0))
    kubectl("apply", "-f", "-", stdin=job("slow", "sleep", "1000", activeDeadlineSeconds=1))
    kubectl("apply", "-f", "-", stdin=job("again", "false", policy="OnFailure", backoffLimit=1))
    for name, reason in (("bad", "BackoffLimitExceeded"), ("slow", "DeadlineExceeded"),
                         ("again", "BackoffLimitExceeded")):
        kubectl("wait", "--for=condition=failed", f"job/{name}", "--timeout=30s")
        assert conditions(kubectl, f"job/{name}") == {"FailureTarget": reason, "Failed": reason}
    assert rows(kubectl("get", "job", "bad"))[1][1:3] == ["Failed", "0/1"]
    assert "1 Failed" in kubectl("describe", "job", "bad")
    told = until(lambda: events(kubectl, "Job", "bad"), lambda e: len(e) == 2)
    assert told[1] == ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    told = until(lambda: events(kubectl, "Job", "slow"), lambda e: len(e) == 3)
    assert [reason for reason, _ in told] == ["SuccessfulCreate", "SuccessfulDelete", "DeadlineExceeded"]


def test_an_indexed_job_a_suspended_one_and_one_that_cleans_up(kubectl: Kubectl) -> None:
    told = job("nth", "sh", "-c", "echo $JOB_COMPLETION_INDEX", completions=2, parallelism=2,
               completionMode="Indexed")
    kubectl("apply", "-f", "-", stdin=told)
    kubectl("wait", "--for=condition=complete", "job/nth", "--timeout=30s")
    assert kubectl("get", "job", "nth", "-o", "jsonpath={.status.completedIndexes}") == "0,1"
    names = kubectl("get", "pods", "-l", "job-name=nth", "-o", "jsonpath={.items[*].spec.hostname}").split()
    assert sorted(names) == ["nth-0", "nth-1"]
    kubectl("apply", "-f", "-", stdin=job("held", "true", suspend=True, ttlSecondsAfterFinished=0))
    kubectl("wait", "--for=condition=suspended", "job/held", "--timeout=30s")
    assert rows(kubectl("get", "job", "held"))[1][1] == "Suspended"
    kubectl("patch", "job", "held", "-p", '{"spec":{"suspend":false}}')
    kubectl("wait", "--for=delete", "job/held", "--timeout=30s")
    until(lambda: kubectl("get", "pods", "-l", "job-name=held", "-o", "name"), lambda text: not text)


def test_a_cron_job_is_checked_and_run_by_hand(kubectl: Kubectl) -> None:
    kubectl("create", "cronjob", "often", "--image=busybox", "--schedule=@hourly", "--", "true")
    line = rows(kubectl("get", "cj", "often"))[1]
    assert line[:6] == ["often", "@hourly", "<none>", "False", "0", "<none>"]
    kubectl("create", "job", "now", "--from=cronjob/often")
    kubectl("wait", "--for=condition=complete", "job/now", "--timeout=30s")
    wrong = kubectl("create", "cronjob", "no", "--image=busybox", "--schedule=* * *", status=1)
    assert 'spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]' in wrong
    zone = '{"spec":{"timeZone":"Nowhere/Here"}}'
    told = kubectl("patch", "cj", "often", "-p", zone, status=1)
    assert 'spec.timeZone: Invalid value: "Nowhere/Here": unknown time zone Nowhere/Here' in told


def test_a_namespace_goes_with_all_it_holds_and_says_what_holds_it(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "gone")
    assert kubectl("get", "sa,cm", "-n", "gone", "-o", "name").split() == [
        "serviceaccount/default", "configmap/kube-root-ca.crt"]
    kubectl("create", "deployment", "web", "--image=busybox", "-n", "gone", "--", "sleep", "1000")
    kubectl("create", "configmap", "held", "-n", "gone")
    kubectl("patch", "configmap", "held", "-n", "gone", "--type=merge",
            "-p", '{"metadata":{"finalizers":["example.com/wait"]}}')
    kubectl("rollout", "status", "deploy/web", "-n", "gone", "--timeout=30s")
    kubectl("delete", "namespace", "gone", "--wait=false")
    assert rows(kubectl("get", "ns", "gone"))[1][1] == "Terminating"

    def told() -> dict[str, str]:
        found = json.loads(kubectl("get", "ns", "gone", "-o", "json"))["status"].get("conditions", [])
        return {c["type"]: c["message"] for c in found if c["status"] == "True"}

    assert until(told, lambda c: c and "pods" not in c["NamespaceContentRemaining"]) == {
        "NamespaceContentRemaining": "Some resources are remaining: configmaps. has 1 resource instances",
        "NamespaceFinalizersRemaining": "Some content in the namespace has finalizers remaining: "
                                        "example.com/wait in 1 resource instances"}
    refused = kubectl("create", "configmap", "late", "-n", "gone", status=1)
    assert "unable to create new content in namespace gone because it is being terminated" in refused
    kubectl("label", "ns", "gone", "a=b")
    kubectl("patch", "configmap", "held", "-n", "gone", "--type=json",
            "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    kubectl("wait", "--for=delete", "ns/gone", "--timeout=30s")


def test_a_stuck_namespace_is_let_go_by_hand(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "stuck")
    held = '{"metadata":{"finalizers":["example.com/w"]}}'
    kubectl("patch", "namespace", "stuck", "--type=merge", "-p", held)
    kubectl("delete", "namespace", "stuck", "--wait=false")
    until(lambda: kubectl("get", "ns", "stuck", "-o", "jsonpath={.status.phase} {.spec.finalizers}"),
          lambda text: text in ("Terminating ", "Terminating []"))
    kubectl("patch", "namespace", "stuck", "--type=json",
            "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    kubectl("wait", "--for=delete", "ns/stuck", "--timeout=10s")
    kubectl("create", "namespace", "forced")
    kubectl("create", "configmap", "held", "-n", "forced")
    kubectl("patch", "configmap", "held", "-n", "forced", "--type=merge",
            "-p", '{"metadata":{"finalizers":["example.com/wait"]}}')
    kubectl("delete", "namespace", "forced", "--wait=false")
    found = json.loads(kubectl("get", "ns", "forced", "-o", "json"))
    found["spec"] = {"finalizers": []}
    kubectl("replace", "--raw", "/api/v1/namespaces/forced/finalize", "-f", "-", stdin=json.dumps(found))
    kubectl("wait", "--for=delete", "ns/forced", "--timeout=10s")
