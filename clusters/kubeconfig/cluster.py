"""A cluster that is there already, of which only the API is known: no power over nodes, cables or programs.

Agents are reached through the API server's pod proxy, never through the Services under test.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import yaml

from clusters.base import ClusterError, Node, Workload
from clusters.kubeconfig.api import Api

SCHEME = "kubeconfig"


@dataclass(frozen=True)
class Place:
    """Which file and which of its contexts; empty: the current one."""

    path: Path
    context: str = ""


def parse(url: str) -> Place:
    """``kubeconfig://PATH?context=NAME``; without a path $KUBECONFIG, else ``~/.kube/config``.

    Raises ClusterError for an unknown option or more than one file.
    """
    rest = url.partition("://")[2]
    path, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(options) - {"context"}):
        raise ClusterError(f"{url}: unknown option {', '.join(unknown)}; there is context=NAME")
    found = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if os.pathsep in found:
        raise ClusterError(
            f"KUBECONFIG names several files ({found}); name one: kubeconfig://PATH?context=NAME"
        )
    return Place(Path(found).expanduser(), options.get("context", ""))


def narrowed(place: Place) -> dict[str, Any]:
    """The kubeconfig with the wanted context as its current one, and absolute paths.

    Raises ClusterError when the file cannot be read or has no such context.
    """
    try:
        config = yaml.safe_load(place.path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ClusterError(
            f"kubeconfig {place.path}: {problem}; name a file that kubectl accepts"
        ) from problem
    if not isinstance(config, dict):
        raise ClusterError(f"kubeconfig {place.path} is no YAML mapping; name a file that kubectl accepts")
    names = [one.get("name") for one in config.get("contexts") or () if isinstance(one, dict)]
    wanted = place.context or config.get("current-context") or ""
    if wanted not in names:
        told = ", ".join(map(str, names)) or "none"
        raise ClusterError(f"kubeconfig {place.path} has no context {wanted!r}; its contexts are {told}")
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    for table, body in (("clusters", "cluster"), ("users", "user")):
        for entry in config.get(table) or ():
            held = entry.get(body) or {}
            for name in files:
                if held.get(name):
                    held[name] = str(place.path.parent.absolute() / str(held[name]))
    return {**config, "current-context": wanted}


class PodWorkload:
    """A pod's control port behind the API server's proxy."""

    def __init__(self, api: Api, namespace: str, name: str, port: int) -> None:
        self.name = f"{namespace}/{name}"
        self.place = f"pod:{namespace}/{name}"
        self._api = api
        self._path = f"/api/v1/namespaces/{quote(namespace)}/pods/http:{quote(name)}:{port}/proxy"

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float,
    ) -> tuple[int, bytes]:
        """Send one HTTP request without a body; gives status and body. ClusterError: no answer."""
        return await self._api.request(method, self._path + path, headers=headers, timeout=timeout)


class KubeconfigCluster:
    """Any cluster; the protocol of ``clusters.base.Cluster`` and no power."""

    act_seconds = 4.0
    restart_seconds = 2.5  # a pod is deleted, and its DaemonSet makes another
    icmp_pause = 1.1  # Linux sends one a second to the same host (net.ipv4.icmp_ratelimit, 1000 ms)

    def __init__(self, url: str, kubeconfig: Path) -> None:
        self.url, self.kubeconfig = url, kubeconfig
        self.namespace: str | None = None
        self.api = Api(kubeconfig)
        self._own = False

    @classmethod
    async def reach(cls, url: str) -> KubeconfigCluster:
        """The cluster of this URL. Raises ClusterError when it cannot be reached or has no node."""
        config = narrowed(parse(url))
        file, name = tempfile.mkstemp(prefix="service-conformance-", suffix=".kubeconfig")  # mode 0600
        with os.fdopen(file, "w", encoding="utf-8") as out:
            yaml.safe_dump(config, out)
        cluster = cls(url, Path(name))
        cluster._own = True
        try:
            await cluster.api.open()
            if not await cluster.nodes():
                raise ClusterError(f"{url}: no node is Ready; kubectl get nodes says why")
        except BaseException:
            await cluster.close()
            raise
        return cluster

    async def nodes(self) -> list[Node]:
        """Ready nodes, those that carry no control plane first, by name."""
        items = (await self.api.get("/api/v1/nodes"))["items"]
        ready = [item for item in items if is_ready(item)]
        return [
            _node(item) for item in sorted(ready, key=lambda item: (_control(item), item["metadata"]["name"]))
        ]

    def pod(self, namespace: str, name: str, port: int) -> Workload:
        """The control port ``port`` of a running pod."""
        return PodWorkload(self.api, namespace, name, port)

    async def close(self) -> None:
        """Close the connections; the cluster stays."""
        self.api.close()
        if self._own:
            self.kubeconfig.unlink(missing_ok=True)


def is_ready(item: Mapping[str, Any]) -> bool:
    """True when the condition Ready of a node or pod is."""
    conditions = item.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _control(item: Mapping[str, Any]) -> bool:
    return "node-role.kubernetes.io/control-plane" in (item["metadata"].get("labels") or {})


def _node(item: Mapping[str, Any]) -> Node:
    internal = [
        one["address"] for one in item["status"].get("addresses") or () if one["type"] == "InternalIP"
    ]
    spec = item.get("spec", {})
    ranges = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return Node(item["metadata"]["name"], tuple(internal), tuple(ranges), _control(item))
