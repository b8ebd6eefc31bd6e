"""The real kubectl against the server: what a person types, and what is printed. kubectl >= 1.31 on PATH."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.tests.test_apiserver_fixture import Server
from clusters.tests.test_apiserver_streams import PlayedKubelet, played

__all__ = ["played"]  # a fixture
pytest_plugins = ["clusters.tests.test_apiserver_fixture"]

Kubectl = Callable[..., str]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nextcloud-dev
  labels: {app: nextcloud, environment: dev}
spec:
  replicas: 2
  selector:
    matchLabels: {app: nextcloud, environment: dev}
  template:
    metadata:
      labels: {app: nextcloud, environment: dev}
    spec:
      containers:
      - name: nextcloud
        image: nextcloud:latest
        ports:
        - containerPort: 80
---
apiVersion: v1
kind: Service
metadata:
  name: nextcloud-dev-clusterip
  labels: {app: nextcloud, environment: dev}
spec:
  selector: {app: nextcloud, environment: dev}
  type: ClusterIP
  ports:
  - port: 8080
    targetPort: 80
"""


def shell(server: Server, namespace: str, folder: Path) -> Kubectl:
    """A way to run kubectl in a namespace; gives what it printed, or fails with what it complained of."""
    program = shutil.which("kubectl")
    assert program, "kubectl (1.31 or later) is not on PATH: install it, these tests are about it"
    authority = base64.b64encode(Path(server.ca).read_bytes()).decode()
    cluster = {"server": server.url, "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": server.token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "current-context": "x",
    }
    (folder / "config").write_text(json.dumps(config))

    def run(*words: str, stdin: str = "", status: int = 0) -> str:
        argv = [program, f"--kubeconfig={folder}/config", f"--cache-dir={folder}/cache", *words]
        told = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30, check=False)
        assert told.returncode == status, told.stdout + told.stderr
        return told.stdout + (told.stderr if status else "")

    return run


@pytest.fixture
def kubectl(server: Server, namespace: str, tmp_path: Path) -> Kubectl:
    """kubectl in the test's own namespace."""
    return shell(server, namespace, tmp_path)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line]


def test_the_post_applied_shown_and_deleted(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=WEB).splitlines() == [
        "deployment.apps/nextcloud-dev created",
        "service/nextcloud-dev-clusterip created",
    ]
    head, line = rows(kubectl("get", "svc", "-o", "wide"))
    assert head == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert line[:2] == ["nextcloud-dev-clusterip", "ClusterIP"] and line[3:5] == ["<none>", "8080/TCP"]
    assert line[6] == "app=nextcloud,environment=dev"
    shown = kubectl("get", "all")
    assert "deployment.apps/nextcloud-dev   0/2" in shown and "service/nextcloud-dev-clusterip" in shown
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=WEB)
    changed = WEB.replace("replicas: 2", "replicas: 3").replace("- port: 8080", "- port: 8081")
    assert kubectl("apply", "-f", "-", stdin=changed).count("configured") == 2
    assert kubectl("get", "svc", "nextcloud-dev-clusterip", "-o", "jsonpath={.spec.ports[*].port}") == "8081"
    gone = kubectl("delete", "service", "nextcloud-dev-clusterip")
    assert gone.startswith('service "nextcloud-dev-clusterip" deleted')  # 1.33 and newer add from where


def test_objects_made_by_kubectl_create(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=nextcloud", "--replicas=2", "--port=80")
    kubectl("create", "secret", "generic", "memberlist", "--from-literal=secretkey=abc")
    kubectl("create", "configmap", "config", "--from-literal=a=b")
    kubectl("create", "job", "once", "--image=busybox", "--", "true")
    kubectl("create", "cronjob", "often", "--image=busybox", "--schedule=* * * * *")
    kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    kubectl("expose", "deployment", "web", "--type=NodePort")
    kubectl("run", "debian-bash", "--image=debian")
    kubectl("scale", "deployment", "web", "--replicas=4")
    kubectl("label", "service", "web", "tier=front")
    kubectl("annotate", "service", "web", "note=x")
    assert kubectl("get", "deploy,svc", "-o", "jsonpath={.items[*].metadata.name}") == "web web"
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "4"
    assert kubectl("get", "secret", "memberlist", "-o", "jsonpath={.data.secretkey}") == "YWJj"
    assert "tier=front" in kubectl("describe", "service", "web")
    assert rows(kubectl("get", "pods"))[1][:4] == ["debian-bash", "0/1", "Pending", "0"]


def test_server_side_apply_diff_explain_and_unknown_fields(kubectl: Kubectl) -> None:
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=WEB)
    kubectl("scale", "deployment", "nextcloud-dev", "--replicas=5")
    told = kubectl("apply", "--server-side", "-f", "-", stdin=WEB, status=1)
    assert "Apply failed with 1 conflict" in told and ".spec.replicas" in told
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=WEB)
    wrong = WEB.replace("  replicas: 2", "  replica: 2")
    assert 'unknown field "spec.replica"' in kubectl("apply", "-f", "-", stdin=wrong, status=1)
    assert "targetPort" in kubectl("explain", "service.spec.ports")
    assert "replicas" in kubectl("explain", "deployment.spec")


def test_what_the_server_says_it_serves(kubectl: Kubectl) -> None:
    served = {line[0] for line in rows(kubectl("api-resources", "--no-headers"))}
    assert {"services", "endpointslices", "ipaddresses", "cronjobs", "clusterroles"} <= served
    assert "yes" in kubectl("auth", "can-i", "create", "services")
    assert kubectl("get", "servicecidrs", "--no-headers").split()[0] == "kubernetes"
    assert "default" in kubectl("get", "serviceaccounts", "-o", "name")
    assert kubectl("create", "token", "default").count(".") == 2


def test_a_custom_resource_is_defined_and_used(kubectl: Kubectl, namespace: str) -> None:
    group = f"{namespace}.example.io"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"addresses": {"type": "array", "items": {"type": "string"}}},
            }
        },
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"pools.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "pools", "kind": "Pool", "singular": "pool"},
            "versions": [version],
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(definition))
    kubectl("wait", "--for=condition=Established", f"crd/pools.{group}", "--timeout=10s")
    pool = {"apiVersion": f"{group}/v1", "kind": "Pool", "metadata": {"name": "p"}}
    for addresses in (["192.168.2.200-192.168.2.225"], ["192.168.2.1-192.168.2.2"]):
        kubectl("apply", "-f", "-", stdin=json.dumps({**pool, "spec": {"addresses": addresses}}))
    assert kubectl("get", "pool", "p", "-o", "jsonpath={.spec.addresses[0]}") == "192.168.2.1-192.168.2.2"
    kubectl("delete", "crd", f"pools.{group}")


def test_logs_are_read_and_commands_run(
    played: tuple[Server, PlayedKubelet],
    tmp_path: Path,
) -> None:
    kubectl = shell(played[0], "default", tmp_path)
    assert kubectl("logs", "one", "--tail=2") == "first\nsecond\n"
    assert kubectl("exec", "one", "--", "fail", "now", status=3).startswith("fail now\n")
    assert kubectl("exec", "-i", "one", "--", "cat", stdin="typed").endswith("typed")
