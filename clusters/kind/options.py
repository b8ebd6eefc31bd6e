"""``kind://NAME?…`` → what cluster is meant, and the configuration that kind is given for a new one. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from clusters.base import ClusterError

SCHEME = "kind"
PROXIES = ("nftables", "iptables", "none")
FAMILIES = ("ipv4", "ipv6", "dual")
_KNOWN = {
    "nodes": "2 to 20",
    "proxy": " or ".join(PROXIES),
    "family": " or ".join(FAMILIES),
    "image": "a node image",
    "config": "a file for kind create cluster",
    "keep": "nothing: the cluster made stays",
    "outside-image": "the image of hosts outside",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")


@dataclass(frozen=True)
class Options:
    """What a kind URL asks for."""

    name: str
    nodes: int = 3  # the control plane among them
    proxy: str = ""  # empty: kind's own default
    family: str = "ipv4"
    image: str = ""  # empty: the one that this kind was released with
    config: str = ""
    keep: bool = False
    outside_image: str = "python:3"

    def configuration(self) -> dict[str, Any]:
        """kind's own configuration, v1alpha4."""
        networking: dict[str, Any] = {"ipFamily": self.family}
        if self.proxy:
            networking["kubeProxyMode"] = self.proxy
        roles = ["control-plane", *["worker"] * (self.nodes - 1)]
        return {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": networking,
            "nodes": [{"role": role} for role in roles],
        }


def parse(url: str) -> Options:
    """Read a URL. Raises ClusterError naming what is wrong and what is allowed."""
    name, _, query = url.partition("://")[2].partition("?")
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"{url}: {name!r} is no name of a kind cluster; write kind://NAME in a-z, 0-9, - and ."
        )
    told = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(told) - set(_KNOWN)):
        known = ", ".join(f"{word} ({what})" for word, what in _KNOWN.items())
        raise ClusterError(f"{url}: unknown option {', '.join(unknown)}; there are {known}")
    nodes = told.get("nodes", "3")
    if not nodes.isdecimal() or not 2 <= int(nodes) <= 20:
        raise ClusterError(
            f"{url}: nodes is {nodes!r}; a cluster to judge has 2 to 20, the control plane among them"
        )
    for word, allowed in (("proxy", PROXIES), ("family", FAMILIES)):
        if word in told and told[word] not in allowed:
            raise ClusterError(f"{url}: {word} is {told[word]!r}; it is one of {', '.join(allowed)}")
    if told.get("keep", "") not in ("", "yes"):
        raise ClusterError(
            f"{url}: keep is {told['keep']!r}; write ?keep to keep a cluster that the run made"
        )
    default = Options(name)
    return Options(
        name,
        int(nodes),
        told.get("proxy", ""),
        told.get("family", default.family),
        told.get("image", ""),
        told.get("config", ""),
        "keep" in told,
        told.get("outside-image", default.outside_image),
    )
