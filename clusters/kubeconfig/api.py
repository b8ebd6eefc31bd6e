"""One API server as a kubeconfig describes it, client certificates and exec plugins included.

The ``kubernetes`` client reads the file and holds the connections; it is synchronous and slow to import, so
both happen in threads of their own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clusters.base import ClusterError

_THREADS = 64  # one for each agent that is asked at the same time
_CONNECT = 5.0  # seconds


class Api:
    """Requests to one API server; gives status and body of any answer."""

    def __init__(self, kubeconfig: Path, context: str = "") -> None:
        self.kubeconfig, self.context = kubeconfig, context
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="api")
        self._pool: Any = None
        self._host = ""
        self._headers: dict[str, str] = {}

    async def open(self) -> None:
        """Read the kubeconfig; ClusterError when it cannot be used."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._load)

    def _load(self) -> None:
        import yaml
        from kubernetes import client, config

        settings: Any = client.Configuration()
        settings.connection_pool_maxsize = _THREADS
        load: Any = config.load_kube_config
        try:
            load(
                str(self.kubeconfig),
                context=self.context or None,
                client_configuration=settings,
                persist_config=False,
            )
        except (config.ConfigException, yaml.YAMLError, OSError, AttributeError, TypeError) as problem:
            raise ClusterError(
                f"kubeconfig {self.kubeconfig}: {problem}; name a file and a context that kubectl accepts"
            ) from problem
        settings.retries = False
        self._pool = client.ApiClient(settings).rest_client.pool_manager
        self._host = settings.host.rstrip("/")
        for setting in settings.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                self._headers[setting["key"]] = setting["value"]

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float,
    ) -> tuple[int, bytes]:
        """One request of at most ``timeout`` seconds. Raises ClusterError when there is no answer."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        def ask() -> tuple[int, bytes]:
            limits = Timeout(connect=min(timeout, _CONNECT), read=timeout)
            try:
                answer = self._pool.request(
                    method,
                    self._host + path,
                    headers={**self._headers, **(headers or {})},
                    timeout=limits,
                    retries=False,
                )
            except HTTPError as problem:
                raise ClusterError(f"{method} {path}: the API server does not answer: {problem}") from problem
            return answer.status, answer.data

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    async def get(self, path: str, *, timeout: float = 20.0) -> dict[str, Any]:
        """The object at ``path``. Raises ClusterError when it is refused or no object."""
        status, body = await self.request("GET", path, timeout=timeout)
        try:
            said = json.loads(body)
        except ValueError as problem:
            raise ClusterError(f"GET {path}: {status}, and no JSON: {body[:200]!r}") from problem
        if status != 200 or not isinstance(said, dict):
            told = said.get("message") if isinstance(said, dict) else said
            raise ClusterError(f"GET {path}: {status}: {told}")
        return said

    def close(self) -> None:
        """Take no more requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._pool is not None:
            self._pool.clear()
