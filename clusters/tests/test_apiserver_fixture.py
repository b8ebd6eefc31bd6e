"""A running API server for the tests: ours, or any real one named by CLUSTER_API_URL, _TOKEN and _CA.

The acceptance list judges both by the same file; a difference between them is a bug of ours.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

Object = dict[str, Any]
_START = "import sys; from clusters.apiserver.http import main; sys.exit(main(sys.argv[1:]))"


@dataclass
class Server:
    """Where a server listens and how to be let in."""

    url: str
    token: str
    ca: str
    ours: bool
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False  # no CA bundle or proxy of the machine gets between
        self.session.verify = self.ca
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: Any
    ) -> tuple[int, Any]:
        """(status, decoded body) of one request."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        answer = self.session.request(
            method, self.url + path, data=data, params=query, headers={"Content-Type": kind}, timeout=30
        )
        return answer.status_code, answer.json()

    def ok(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: Any
    ) -> Any:
        """The decoded body of a request that must succeed."""
        status, answer = self.call(method, path, body, kind, **query)
        assert status < 300, answer
        return answer

    def refused(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: Any
    ) -> tuple[int, str, str]:
        """(code, reason, message) of a request that must fail."""
        status, answer = self.call(method, path, body, kind, **query)
        assert status >= 400, answer
        assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Failure", status)
        return status, answer.get("reason", ""), answer["message"]

    def watch(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The events of one watch, to its end."""
        with self.session.get(
            self.url + path, params={"watch": "1", **query}, stream=True, timeout=30
        ) as answer:
            assert answer.status_code == 200, answer.text
            for line in answer.iter_lines(chunk_size=1):
                yield json.loads(line)


def begin(folder: Path, listening: socket.socket, *flags: str) -> subprocess.Popen[bytes]:
    """Our server as a process of its own on a socket that listens; its files are in ``folder``."""
    (folder / "tokens.json").write_text('{"test-token": {"user": "tester", "groups": ["system:masters"]}}')
    argv = [sys.executable, "-c", _START, "--inherit-fd", str(listening.fileno())]
    argv += ["--token-file", str(folder / "tokens.json"), "--cert-dir", str(folder / "certs")]
    argv += ["--advertise", "192.168.2.2:6443", *flags]
    return subprocess.Popen(argv, pass_fds=[listening.fileno()])


@contextmanager
def started(folder: Path, *flags: str) -> Iterator[Server]:
    """Our server as a process of its own, on a port of the kernel's choice, through the inherited socket."""
    listening = socket.create_server(("127.0.0.1", 0))
    with begin(folder, listening, *flags) as process:
        try:
            url = f"https://127.0.0.1:{listening.getsockname()[1]}"
            listening.close()
            wait_for(folder / "certs" / "ca.crt", process)
            yield Server(url, "test-token", str(folder / "certs" / "ca.crt"), True)
        finally:
            process.terminate()
            assert process.wait(10) == 0


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server has written a file; AssertionError when it ended before."""
    end = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, "the server ended at its start"
        assert time.monotonic() < end, "the server wrote no ca.crt within 20 s"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server the acceptance list judges."""
    if "CLUSTER_API_URL" in os.environ:
        yield Server(
            os.environ["CLUSTER_API_URL"],
            os.environ["CLUSTER_API_TOKEN"],
            os.environ["CLUSTER_API_CA"],
            False,
        )
        return
    with started(tmp_path_factory.mktemp("apiserver"), "--bookmark-seconds", "0.5") as running:
        yield running


@pytest.fixture
def namespace(server: Server) -> Iterator[str]:
    """A new namespace, deleted with everything in it at the end."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    server.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    server.call("DELETE", f"/api/v1/namespaces/{name}")


def maps(namespace: str, name: str = "") -> str:
    """The path of ConfigMaps, or of one."""
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def deployments(namespace: str, name: str = "") -> str:
    """The path of Deployments, or of one."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments" + (f"/{name}" if name else "")


def deployment(name: str, replicas: int = 0) -> Object:
    """A small Deployment, selected by its own name."""
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [
                        {
                            "name": "main",
                            "image": "nextcloud",
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        }
                    ]
                },
            },
        },
    }


def make_map(server: Server, namespace: str, name: str = "one", **data: str) -> Object:
    """A ConfigMap, made."""
    made: Object = server.ok("POST", maps(namespace), {"metadata": {"name": name}, "data": data})
    return made


def eventually(question: Callable[[], Any], within: float = 10.0) -> Any:
    """The first true answer of a question asked until ``within`` seconds are over."""
    end = time.monotonic() + within
    while not (answer := question()):
        assert time.monotonic() < end, f"not so within {within} s"
        time.sleep(0.05)
    return answer


def services(namespace: str, name: str = "") -> str:
    """The path of Services, or of one."""
    return f"/api/v1/namespaces/{namespace}/services" + (f"/{name}" if name else "")


def service(name: str = "svc", ports: list[Object] | None = None, **spec: object) -> Object:
    """A Service with one port 80."""
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}] if ports is None else ports, **spec}}


def make_service(
    server: Server, namespace: str, name: str = "svc", ports: list[Object] | None = None, **spec: object
) -> Object:
    """A Service, made."""
    made: Object = server.ok("POST", services(namespace), service(name, ports, **spec))
    return made


def refused_service(
    server: Server, namespace: str, name: str = "svc", ports: list[Object] | None = None, **spec: object
) -> str:
    """What a refused Service is told, after its name."""
    code, reason, message = server.refused("POST", services(namespace), service(name, ports, **spec))
    assert (code, reason) == (422, "Invalid")
    return message.removeprefix(f'Service "{name}" is invalid: ')


def free_port(server: Server, namespace: str) -> int:
    """A node port nobody has: one allocated and given back."""
    made = make_service(server, namespace, "probe", type="NodePort")
    server.ok("DELETE", services(namespace, "probe"))
    port: int = made["spec"]["ports"][0]["nodePort"]
    return port
