"""The judge's way to the API server: the ``kubernetes`` client's configuration and connections, plain
dictionaries.

That client is synchronous and slow to import (0.7 s), so it is imported and used in threads of its own.
Nothing here tries again: an answer is an answer.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from conformance.objects import Object

T = TypeVar("T")
Objects = dict[tuple[str, str], Object]  # by namespace and name
THREADS = 16
_PLURALS = {
    "Namespace": "namespaces", "Node": "nodes", "Pod": "pods", "Service": "services",
    "ConfigMap": "configmaps", "Deployment": "deployments", "ReplicaSet": "replicasets",
    "EndpointSlice": "endpointslices",
    "Lease": "leases", "ServiceAccount": "serviceaccounts", "Event": "events",
}


class KubeError(Exception):
    """The API server cannot be reached, or refused something that the suite needs for itself."""


@dataclass(frozen=True)
class Answer:
    """One answer of the API server: its status code and its body, an object or a Status."""

    code: int
    body: Object

    @property
    def ok(self) -> bool:
        """True when it did what was asked."""
        return 200 <= self.code < 300

    def said(self) -> str:
        """The refusal in one line."""
        return f"{self.code} {self.body.get('reason', '')}: {self.body.get('message', '')}"

    def refusal(self) -> Object:
        """Code, reason and message: what a client is told and a requirement compares."""
        words = {name: self.body.get(name, "") for name in ("reason", "message")}
        return {"code": self.code, **words}


def path_of(kind: str, api_version: str, namespace: str = "", name: str = "", part: str = "") -> str:
    """The URL path of a kind, of one object, or of a part of it such as ``log``."""
    group = "api/v1" if api_version == "v1" else f"apis/{api_version}"
    scope = f"/namespaces/{quote(namespace)}" if namespace else ""
    path = f"/{group}{scope}/{_PLURALS[kind]}"
    return path + (f"/{quote(name)}" if name else "") + (f"/{part}" if part else "")


def warm() -> None:
    """Import the client; run it in a thread while the cluster starts."""
    import kubernetes.client
    import kubernetes.config  # noqa: F401


class Kube:
    """A client for one kubeconfig; every call runs in the executor's threads."""

    def __init__(self, kubeconfig: Path, *, timeout: float) -> None:
        self.kubeconfig, self.timeout = kubeconfig, timeout
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kube")
        self._pool: Any = None
        self._host, self._headers = "", {"Content-Type": "application/json", "Accept": "application/json"}

    async def open(self) -> None:
        """Read the kubeconfig. Raises KubeError when it is missing or malformed."""
        await self._run(self._load)

    def _load(self) -> None:
        import yaml
        from kubernetes import client, config

        settings: Any = client.Configuration()
        settings.connection_pool_maxsize = THREADS + 4
        try:
            load: Any = config.load_kube_config
            load(str(self.kubeconfig), client_configuration=settings, persist_config=False)
        except (config.ConfigException, yaml.YAMLError, OSError, AttributeError, TypeError) as problem:
            said = f"kubeconfig {self.kubeconfig}: {problem}; name one that kubectl accepts"
            raise KubeError(said) from problem
        settings.retries = False
        self._pool = client.ApiClient(settings).rest_client.pool_manager
        self._host = settings.host.rstrip("/")
        for setting in settings.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                self._headers[setting["key"]] = setting["value"]

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def ask(
        self, method: str, path: str, body: Object | None = None, *, stream: bool = False, timeout: float = 0,
    ) -> Any:
        """One request, in the calling thread; gives urllib3's response. Raises KubeError when none comes."""
        from urllib3.exceptions import HTTPError

        data = None if body is None else json.dumps(body).encode()
        try:
            return self._pool.request(
                method, self._host + path, body=data, headers=self._headers, timeout=timeout or self.timeout,
                preload_content=not stream, retries=False,
            )
        except HTTPError as problem:
            raise KubeError(f"{method} {path}: the API server does not answer: {problem}") from problem

    async def request(self, method: str, path: str, body: Object | None = None) -> Answer:
        """One request; refusals are answers too. Raises KubeError when none comes."""
        response = await self._run(lambda: self.ask(method, path, body))
        try:
            said = json.loads(response.data)
        except ValueError:
            said = {"message": response.data.decode("utf-8", "replace")}
        return Answer(response.status, said if isinstance(said, dict) else {"message": str(said)})

    async def text(self, path: str) -> str:
        """The body of a GET as text (logs). Raises KubeError when it is refused."""
        response = await self._run(lambda: self.ask("GET", path))
        said: str = response.data.decode("utf-8", "replace")
        if response.status != 200:
            raise KubeError(f"GET {path}: {response.status}: {said[:300]}")
        return said

    async def attempt(self, made: Mapping[str, Any], namespace: str = "") -> Answer:
        """Try to create an object; the answer is the caller's to judge."""
        return await self.request("POST", path_of(made["kind"], made["apiVersion"], namespace), dict(made))

    async def create(self, made: Mapping[str, Any], namespace: str = "") -> Object:
        """Create an object of the suite's own; gives it as stored. Raises KubeError when it is refused."""
        answer = await self.attempt(made, namespace)
        if not answer.ok:
            name = made["metadata"]["name"]
            raise KubeError(f"create {made['kind']} {namespace}/{name}: {answer.said()}")
        return answer.body

    async def get(self, kind: str, api_version: str, namespace: str, name: str) -> Object:
        """Read one object. Raises KubeError when it is not there."""
        answer = await self.request("GET", path_of(kind, api_version, namespace, name))
        if not answer.ok:
            raise KubeError(f"get {kind} {namespace}/{name}: {answer.said()}")
        return answer.body

    async def replace(self, made: Object) -> Object:
        """Put an object in place of the stored one; gives it as stored. Raises KubeError when refused."""
        answer = await self.attempt_replace(made)
        if not answer.ok:
            where = f"{made['metadata'].get('namespace', '')}/{made['metadata']['name']}"
            raise KubeError(f"update {made['kind']} {where}: {answer.said()}")
        return answer.body

    async def attempt_replace(self, made: Object) -> Answer:
        """Try to put an object in place of the stored one, whoever changed that; the caller judges."""
        meta = {key: value for key, value in made["metadata"].items() if key != "resourceVersion"}
        path = path_of(made["kind"], made["apiVersion"], meta.get("namespace", ""), meta["name"])
        return await self.request("PUT", path, {**made, "metadata": meta})

    async def delete(self, kind: str, api_version: str, namespace: str, name: str) -> Answer:
        """Delete one object; that it was not there is an answer as well."""
        return await self.request("DELETE", path_of(kind, api_version, namespace, name))

    async def list(self, kind: str, api_version: str, selector: str) -> list[Object]:
        """The objects that a label selector finds, in whatever namespace. Raises KubeError when refused."""
        path = f"{path_of(kind, api_version)}?{urlencode({'labelSelector': selector})}"
        answer = await self.request("GET", path)
        if not answer.ok:
            raise KubeError(f"list {kind}: {answer.said()}")
        return list(answer.body.get("items") or ())

    def close(self) -> None:
        """Take no more work; threads that wait for an answer end with it."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._pool is not None:
            self._pool.clear()


class Mirror:
    """All objects of a kind as the API server last told, kept by one watch in a thread of its own."""

    def __init__(self, kube: Kube, kind: str, api_version: str, *, selector: str = "") -> None:
        self.kind = kind
        self.objects: Objects = {}
        self._kube, self._path, self._selector = kube, path_of(kind, api_version), selector
        self._changed = asyncio.Condition()
        self._loop = asyncio.get_running_loop()
        self._response: Any = None
        self._over = threading.Event()
        self.trouble = ""
        threading.Thread(target=self._follow, name=f"watch-{kind}", daemon=True).start()

    async def until(self, found: Callable[[Objects], T | None], within: float, what: str) -> T:
        """Wait until ``found`` gives something but None; after ``within`` seconds raise KubeError naming
        ``what``.
        """
        result: T | None = None

        def true() -> bool:
            nonlocal result
            result = found(self.objects)
            return result is not None

        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(true)
        except TimeoutError as problem:
            last = f" (last trouble of the watch: {self.trouble})" if self.trouble else ""
            raise KubeError(f"{what}: not within {within:g} s{last}") from problem
        assert result is not None
        return result

    def close(self) -> None:
        """End the watch."""
        self._over.set()
        if self._response is not None:
            with suppress(RuntimeError, ValueError, OSError):  # it has ended by itself
                self._response.shutdown()  # close() would wait for the thread that reads

    def _follow(self) -> None:
        """List, watch, and again from the list whenever the watch ends, until closed."""
        from urllib3.exceptions import HTTPError

        while not self._over.is_set():
            try:
                self._watch(self._list())
            except (KubeError, HTTPError, ValueError, KeyError, OSError, AttributeError) as problem:
                self.trouble = f"{type(problem).__name__}: {problem}"  # said when somebody waits in vain
            self._over.wait(0.1)  # a server that ends every watch at once is not asked in a hot loop

    def _list(self) -> str:
        query = urlencode({"labelSelector": self._selector} if self._selector else {})
        response = self._kube.ask("GET", f"{self._path}?{query}")
        if response.status != 200:
            raise KubeError(f"list {self.kind}: {response.status}")
        said = json.loads(response.data)
        items = {_key(item): item for item in said.get("items") or ()}
        self._tell(lambda: self._replace(items))
        return str(said["metadata"].get("resourceVersion", ""))

    def _watch(self, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
        if self._selector:
            query["labelSelector"] = self._selector
        self._response = self._kube.ask("GET", f"{self._path}?{urlencode(query)}", stream=True, timeout=330)
        if self._over.is_set():
            return
        rest = b""
        for part in self._response.stream(1 << 16):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                self._tell(partial(self._apply, event))

    def _replace(self, items: Objects) -> None:
        self.objects.clear()
        self.objects.update(items)

    def _apply(self, event: Object) -> None:
        if event["type"] == "DELETED":
            self.objects.pop(_key(event["object"]), None)
        elif event["type"] in {"ADDED", "MODIFIED"}:
            self.objects[_key(event["object"])] = event["object"]

    def _tell(self, change: Callable[[], Any]) -> None:
        """Make ``change`` in the loop's thread and wake those who wait."""

        async def apply() -> None:
            async with self._changed:
                change()
                self._changed.notify_all()

        if not self._over.is_set():
            asyncio.run_coroutine_threadsafe(apply(), self._loop)


def _key(made: Object) -> tuple[str, str]:
    return made["metadata"].get("namespace", ""), made["metadata"]["name"]
