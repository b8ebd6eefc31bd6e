"""What real clients do with the server: the kubernetes client of Python, and the process's own manners."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, watch

from clusters.tests.test_apiserver_fixture import Server

pytest_plugins = ["clusters.tests.test_apiserver_fixture"]


@pytest.fixture
def api(server: Server) -> Iterator[client.ApiClient]:
    configuration = client.Configuration(host=server.url)
    configuration.ssl_ca_cert = server.ca
    configuration.api_key = {"authorization": f"Bearer {server.token}"}
    with client.ApiClient(configuration) as opened:
        yield opened


def test_the_python_client_makes_reads_changes_and_deletes(api: client.ApiClient, namespace: str) -> None:
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    labels = {"app": "web"}
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="nextcloud")]),
    )
    spec = client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template
    )
    made = apps.create_namespaced_deployment(
        namespace, client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    )
    assert made.metadata.generation == 1 and made.spec.strategy.type == "RollingUpdate"
    service = core.create_namespaced_service(
        namespace,
        client.V1Service(
            metadata=client.V1ObjectMeta(name="web"),
            spec=client.V1ServiceSpec(
                type="NodePort", selector=labels, ports=[client.V1ServicePort(port=8080, target_port=80)]
            ),
        ),
    )
    assert service.spec.cluster_ip and service.spec.ports[0].node_port >= 30000
    core.patch_namespaced_service("web", namespace, {"metadata": {"labels": {"x": "y"}}})
    assert [
        item.metadata.name for item in core.list_namespaced_service(namespace, label_selector="x=y").items
    ] == ["web"]
    apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 5}})
    assert apps.read_namespaced_deployment("web", namespace).spec.replicas == 5
    apps.patch_namespaced_deployment_status("web", namespace, {"status": {"replicas": 5}})
    assert core.delete_namespaced_service("web", namespace).metadata.name == "web"
    apps.delete_namespaced_deployment("web", namespace)
    assert apps.list_namespaced_deployment(namespace).items == []


def test_the_python_client_reads_a_refusal(api: client.ApiClient, namespace: str) -> None:
    body = client.V1Service(
        metadata=client.V1ObjectMeta(name="x"),
        spec=client.V1ServiceSpec(type="NodePort", ports=[client.V1ServicePort(port=80, node_port=29999)]),
    )
    with pytest.raises(client.ApiException) as refusal:
        client.CoreV1Api(api).create_namespaced_service(namespace, body)
    assert refusal.value.status == 422
    assert (
        "spec.ports[0].nodePort: Invalid value: 29999: provided port is not in the valid range"
        in refusal.value.body
    )


def test_the_python_client_watches_and_resumes(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a")))
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    for name in ("b", "c"):
        core.create_namespaced_config_map(
            namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name))
        )
    names = []
    stream = watch.Watch()
    for event in stream.stream(
        core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=5
    ):
        names.append(event["object"].metadata.name)
        if len(names) == 2:
            stream.stop()
    assert names == ["b", "c"]
    with pytest.raises(client.ApiException) as expired:
        list(
            watch.Watch().stream(
                core.list_namespaced_config_map, namespace, resource_version="1", timeout_seconds=1
            )
        )
    assert expired.value.status == 410


def test_a_body_beyond_the_limit_is_refused(server: Server, namespace: str) -> None:
    code, reason, _ = server.refused(
        "POST", f"/api/v1/namespaces/{namespace}/configmaps", b" " * (3 * 1024 * 1024 + 1)
    )
    assert (code, reason) == (413, "RequestEntityTooLarge")


def test_plain_http_and_old_tls_get_nothing(server: Server) -> None:
    host, port = server.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        plain.sendall(b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(1000)
    context = ssl.create_default_context(cafile=server.ca)
    with (
        socket.create_connection((host, int(port)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="kubernetes.default.svc") as wrapped,
    ):
        assert wrapped.version() in {"TLSv1.2", "TLSv1.3"}


def _start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    tokens = folder / "tokens.json"
    tokens.write_text('{"t": {"user": "u", "groups": []}}')
    code = "import sys; from clusters.apiserver.http import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, "--token-file", str(tokens), "--cert-dir", str(folder), *flags],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--listen", "nowhere"], "--listen 'nowhere' is not ADDR:PORT"),
        ([], "--listen and --inherit-fd are both missing"),
        (["--listen", "127.0.0.1:0", "--service-cidr", "10.43.0.1/16"], "has host bits set"),
        (["--listen", "127.0.0.1:0", "--node-port-range", "3-2"], "is not FIRST-LAST"),
        (["--listen", "127.0.0.1:0", "--reserve", "/no/such/file"], "--reserve /no/such/file"),
    ],
)
def test_bad_arguments_are_one_sentence_and_status_3(tmp_path: Path, flags: list[str], words: str) -> None:
    with _start(tmp_path, *flags) as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 3
    assert said.startswith("apiserver: ") and words in said and said.count("\n") == 1


def test_a_taken_port_is_told_and_sigterm_ends_at_once_even_with_watchers(
    server: Server, tmp_path: Path
) -> None:
    host_port = server.url.removeprefix("https://")
    with _start(tmp_path, "--listen", host_port) as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 3 and "Address already in use" in said
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with _start(tmp_path, "--listen", f"127.0.0.1:{port}") as process:
        end = time.monotonic() + 20
        while not (tmp_path / "ca.crt").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        mine = Server(f"https://127.0.0.1:{port}", "t", str(tmp_path / "ca.crt"), True)
        events = mine.watch("/api/v1/namespaces")
        assert next(events)["type"] == "ADDED"
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - begun < 2.0
