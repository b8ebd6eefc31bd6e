"""Small builders and waits for the tests of the embedded cluster."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from clusters.client import Client, NotFound
from clusters.credentials import read_kubeconfig
from clusters.locate import locate
from clusters.netns.cluster import NetnsCluster

Object = dict[str, Any]

# Answers on a control port with what it is, and obeys /ready, /unready and /exit.
WEB = '''
import http.server, os, socket, sys
state = {"ready": "--unready" not in sys.argv}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit":
            os._exit(7)
        if self.path in ("/ready", "/unready"):
            state["ready"] = self.path == "/ready"
        status = 200 if self.path != "/readyz" or state["ready"] else 503
        text = f"{socket.gethostname()} {self.client_address[0]} {os.environ.get('WHO', '')}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args):
        print("asked", self.path, flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
'''
PODS = "/api/v1/namespaces/default/pods"


def web_map(name: str = "web") -> Object:
    """A ConfigMap that holds the program."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"web.py": WEB}}


def web_pod(name: str, node: str, *args: str, **spec: Any) -> Object:
    """A pod that runs the program on port 7000 of a node, with a readiness probe."""
    container = {
        "name": "web", "image": "python:3.12-slim", "command": ["python3", "/agent/web.py", "7000", *args],
        "env": [{"name": "WHO", "value": "$(MY_IP)/$(MY_NODE)"}],
        "volumeMounts": [{"name": "code", "mountPath": "/agent"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 7000}, "periodSeconds": 1,
                           "failureThreshold": 1},
    }
    container["env"] = [
        {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MY_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "WHO", "value": "$(MY_IP)/$(MY_NODE)"},
    ]
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 2,
                 "volumes": [{"name": "code", "configMap": {"name": "web"}}], **spec},
    }


def is_ready(pod: Object) -> bool:
    """Whether the pod says it is ready."""
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in pod.get("status", {}).get("conditions", ()))


async def until(what: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    """Ask until the answer is true; fails after ``seconds``, which is patience only."""
    end = time.monotonic() + seconds
    while True:
        if found := await what():
            return found
        assert time.monotonic() < end, f"{what} was never true in {seconds} s"
        await asyncio.sleep(0.01)


async def ready_pod(client: Client, name: str) -> Object:
    """Wait for a pod of namespace default to be ready; gives it."""
    async def look() -> Object | None:
        pod = await client.get(f"{PODS}/{name}")
        return pod if is_ready(pod) else None

    return await until(look)


async def with_pods(url: str, nodes: Mapping[str, str]) -> NetnsCluster:
    """An embedded cluster in which the pods of these names are ready on these nodes; the caller closes it."""
    made = await locate(url)
    assert isinstance(made, NetnsCluster)
    async with Client.from_kubeconfig(made.kubeconfig) as client:
        await client.create("/api/v1/namespaces/default/configmaps", web_map())
        for name, node in nodes.items():
            await client.create(PODS, web_pod(name, node))
        await asyncio.gather(*(ready_pod(client, name) for name in nodes))
    return made


async def gone(client: Client, name: str) -> None:
    """Delete a pod and wait until it is no more."""
    async def look() -> bool:
        try:
            await client.get(f"{PODS}/{name}")
        except NotFound:
            return True
        return False

    if not await look():
        await client.delete(f"{PODS}/{name}")
    await until(look)


async def get_from(cluster: NetnsCluster, where: str, url: str, patience: float = 2) -> str:
    """What a GET gives, asked by curl from a host or pod."""
    asked = ["curl", "-sS", "-m", f"{patience:g}", url]
    status, output, error = await cluster.run_on(where, asked, timeout=5)
    return output if status == 0 else f"curl {status}: {error}"


async def log_of(cluster: NetnsCluster, name: str, **query: str) -> str:
    """The log of a pod of namespace default, as the API server gives it."""
    found = read_kubeconfig(cluster.kubeconfig)
    tls = ssl.create_default_context(cadata=found.ca)
    headers = {"Authorization": f"Bearer {found.token}"}
    async with (aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{found.server}{PODS}/{name}/log", ssl=tls, params=query) as answer):
        return await answer.text()
