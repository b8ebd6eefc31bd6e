"""Controllers and an API server as processes for the tests, a stand-in kubelet, and a cable to cut."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from clusters.client import Client, NotFound

Object = dict[str, Any]
PODS, SLICES = (
    "/api/v1/namespaces/default/pods",
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
)
SERVICES, DEPLOYMENTS = "/api/v1/namespaces/default/services", "/apis/apps/v1/namespaces/default/deployments"
SETS = "/apis/apps/v1/namespaces/default/replicasets"
START = "import sys; from {} import main; sys.exit(main(sys.argv[1:]))"


def start(module: str, *args: str, fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", START.format(module), *args], pass_fds=fds)


class Control:
    """An API server and the controllers, as processes; ``kubeconfig`` reaches the first."""

    def __init__(self, folder: Path, *, controllers: bool = True) -> None:
        self.folder, self.kubeconfig = folder, folder / "kubeconfig"
        (folder / "tokens").write_text(json.dumps({"tok": {"user": "u", "groups": ["system:masters"]}}))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.api = self.start_api()
        self.controllers: subprocess.Popen[bytes] | None = None
        if controllers:
            self.controllers = start(
                "clusters.controllers.main", "--kubeconfig", str(self.kubeconfig), "--seed"
            )

    def start_api(self) -> subprocess.Popen[bytes]:
        """Start the API server on the one listening socket, and write the kubeconfig for its authority."""
        ca = self.folder / "ca.crt"
        ca.unlink(missing_ok=True)
        number = self.socket.fileno()
        process = start(
            "clusters.apiserver.http",
            "--inherit-fd",
            str(number),
            "--token-file",
            str(self.folder / "tokens"),
            "--cert-dir",
            str(self.folder),
            fds=(number,),
        )
        end = time.monotonic() + 20
        while not ca.exists() or not ca.read_text().endswith("-----\n"):
            assert process.poll() is None, "the API server ended at its start"
            assert time.monotonic() < end, "no ca.crt within 20 s"
            time.sleep(0.01)
        cluster = {
            "server": f"https://127.0.0.1:{self.socket.getsockname()[1]}",
            "certificate-authority-data": base64.b64encode(ca.read_bytes()).decode(),
        }
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "current-context": "x",
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {"token": "tok"}}],
                }
            )
        )
        return process

    def close(self) -> None:
        """End both; the controllers' status must be 0."""
        status = 0
        if self.controllers is not None:
            self.controllers.send_signal(signal.SIGTERM)
            status = self.controllers.wait(5)
        self.api.terminate()
        self.api.wait(5)
        self.socket.close()
        assert status == 0


async def kubelet(client: Client) -> None:
    """Runs every bound pod at once, and lets those asked to go go."""
    count = 0
    async for kind, value in client.watch("/api/v1/pods"):
        for pod in value if kind == "SYNC" else [value]:
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
            if kind == "DELETED" or not pod["spec"].get("nodeName"):
                continue
            with contextlib.suppress(NotFound):
                if pod["metadata"].get("deletionTimestamp"):
                    await client.delete(path, grace=0)
                elif pod["spec"]["containers"][0]["image"] != "sick" and not pod["status"].get("podIP"):
                    count += 1
                    ip = f"10.42.{count // 200}.{count % 200 + 2}"
                    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp}
                    await client.patch_status(
                        path,
                        {
                            "status": {
                                "phase": "Running",
                                "podIP": ip,
                                "podIPs": [{"ip": ip}],
                                "conditions": [ready],
                            }
                        },
                    )


async def until(read: Callable[[], Awaitable[Any]], test: Callable[[Any], Any], seconds: float = 30) -> Any:
    """Read again until ``test`` of it holds; gives what was read."""
    end = time.monotonic() + seconds
    while not test(found := await read()):
        assert time.monotonic() < end, f"not within {seconds} s; last seen: {found}"
        await asyncio.sleep(0.005)
    return found


def deployment(name: str = "web", replicas: int = 2, image: str = "one", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [
                        {"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 80}]}
                    ]
                }
                | spec,
            },
        },
    }


def service(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
        | spec,
    }


async def slices_of(client: Client, name: str = "web") -> list[Object]:
    return await client.list(SLICES, label=f"kubernetes.io/service-name={name}")


def ready(slices: list[Object]) -> list[str]:
    return sorted(e["addresses"][0] for s in slices for e in s["endpoints"] or () if e["conditions"]["ready"])


class Cable:
    """A TCP relay in front of the API server that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self.target, self.port = port, 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()

    async def mend(self) -> None:
        """Accept connections again, on the same port as before."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for transport in list(self._open):
            transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond, back = await asyncio.open_connection("127.0.0.1", self.target)
        transports = {writer.transport, back.transport}
        self._open |= transports  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._pump(reader, back), self._pump(beyond, writer))
        for transport in transports:
            transport.abort()
        self._open -= transports  # type: ignore[arg-type]

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
